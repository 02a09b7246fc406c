"""What quantising costs: perplexity on wikitext-2 of the embedded model and of one trained here, beside llama.cpp's.

The embedded model's file is compared with its own values in single precision, read by torch; the native step reads the
same tokens with the file's blocks. The other model is trained in full precision from a recipe, so that its weights lie
on nobody's grid; its width is a multiple of 256, which K-quants need.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from frame import ROOT, SHARED, THREADS, Run

N_TOKENS = 40_000  # of the test part: a perplexity known to about one part in a hundred, and changes of it far better
WITHIN = 0.005
SETTINGS = {
    "folder": "", "steps": "250", "model.d_model": "256", "model.n_layers": "3", "tokenizer.size": "2000",
    "length": "64",
}  # fmt: skip


def natively(lm: Any) -> Callable[[Any], Any]:
    """The native step's logits after every token of a stretch."""
    import torch

    decoder = lm.quantised.decoder
    assert decoder is not None, "the compiled part is what is measured"

    def read(ids: Any) -> Any:
        return torch.from_numpy(decoder.extend(decoder.cache(1, len(ids)), 0, ids.numpy()))

    return read


def by_llama_cpp(file: Path, window: int) -> Callable[[Any], Any]:
    """llama.cpp's."""
    import numpy as np
    import torch
    from sides.llama import cpp

    opened = cpp.llama_model_load_from_file(str(file).encode(), cpp.llama_model_default_params())
    params = cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = window
    params.n_threads = params.n_threads_batch = THREADS
    context = cpp.llama_init_from_model(opened, params)
    n_words = cpp.llama_vocab_n_tokens(cpp.llama_model_get_vocab(opened))
    batch = cpp.llama_batch_init(window, 0, 1)

    def read(ids: Any) -> Any:
        cpp.llama_memory_clear(cpp.llama_get_memory(context), True)
        for place, token in enumerate(ids.tolist()):
            batch.token[place], batch.pos[place], batch.logits[place] = token, place, True
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
        batch.n_tokens = len(ids)
        assert cpp.llama_decode(context, batch) == 0, "llama.cpp failed"
        logits = np.ctypeslib.as_array(cpp.llama_get_logits(context), shape=(len(ids), n_words))
        return torch.from_numpy(logits.copy())

    return read


def within(bench: Run, name: str, found: float, exact: float) -> None:
    """Keep how far a perplexity is from another one."""
    bench.note(f"{name}, perplexity", round(found, 4))
    bench.note(f"{name}, change", round(found / exact - 1, 5))
    bench.note(f"{name}, within {WITHIN:.1%}", found <= exact * (1 + WITHIN))


def embedded(bench: Run, text: str) -> None:
    """SmolLM2, its file's own 4 bits and 8 bits."""
    import stemma
    from stemma.evaluation import perplexity

    exact = stemma.load("smollm2")
    assert exact.tokenizer is not None
    ids = exact.tokenizer.encode(text, add_special=False)[:N_TOKENS]
    whole = perplexity(lambda stretch: exact.model(stretch[None]).logits[0], ids)
    bench.note("SmolLM2 in single precision, perplexity", round(whole, 4))
    for kind in ("int4", "int8"):
        lm = stemma.load("smollm2", quantize=kind)  # type: ignore[arg-type]
        within(bench, f"SmolLM2 {kind}, native", perplexity(natively(lm), ids), whole)


def trained(bench: Run, place: Path, text: str) -> None:
    """A model of our own, in 4 bits by us and by llama.cpp."""
    from sides.llama import requantised

    import stemma
    from stemma.checkpoints.gguf_write import write_gguf
    from stemma.evaluation import perplexity

    program, out = Path(sys.executable).with_name("stemma"), place / "run"
    changes = [f"--set={name}={value}" for name, value in (SETTINGS | {"folder": str(out)}).items()]
    changes.append(f'--set=corpus=[{{paths=["{SHARED / "data" / "wikitext-2" / "valid.txt"}"], split="paragraph"}}]')
    subprocess.run([program, "pretrain", ROOT / "recipes" / "llama.toml", *changes], check=True, cwd=ROOT)
    folder, file = out / "model", place / "exact.gguf"
    exact = stemma.load(folder)
    # llama.cpp is given ids: it needs no tokenizer.
    write_gguf(exact.stored, file, "F32", entries={"tokenizer.ggml.model": "no_vocab"})
    assert exact.tokenizer is not None
    ids, window = exact.tokenizer.encode(text, add_special=False)[:N_TOKENS], int(SETTINGS["length"])
    whole = perplexity(lambda stretch: exact.model(stretch[None]).logits[0], ids, window)
    bench.note("trained here, in single precision, perplexity", round(whole, 4))
    within(
        bench,
        "trained here, int8, native",
        perplexity(natively(stemma.load(folder, quantize="int8")), ids, window),
        whole,
    )
    ours = perplexity(natively(stemma.load(folder, quantize="int4")), ids, window)
    bench.note("trained here, int4, native, perplexity", round(ours, 4))
    for kind in ("Q4_1", "Q4_K_M"):
        theirs = perplexity(by_llama_cpp(requantised(file, kind, place / f"{kind}.gguf"), window), ids, window)
        bench.note(f"trained here, llama.cpp {kind}, perplexity", round(theirs, 4))
        bench.note(f"trained here, int4 no worse than {kind}", ours <= theirs)


def main() -> None:
    import torch

    torch.set_num_threads(THREADS)
    text = (SHARED / "data" / "wikitext-2" / "test.txt").read_text(encoding="utf-8")
    with TemporaryDirectory() as folder, Run("quality", 1, ("llama-cpp-python",)) as bench:
        embedded(bench, text)
        trained(bench, Path(folder), text)


if __name__ == "__main__":
    main()
