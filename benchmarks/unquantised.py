"""SmolLM2 against transformers, with the same weights in the same type: prefill and greedy decoding."""

from __future__ import annotations

import gc
from pathlib import Path
from tempfile import TemporaryDirectory

from frame import ROOT, THREADS, Run

PREFILL, PROMPT, NEW = 512, 128, 128
DECODE_AT_LEAST = {"float32": 1.2, "bfloat16": 1.5}


def compare(bench: Run, dtype: str, folder: Path) -> None:
    """Both sides in one type; their model is the folder that ours wrote."""
    import torch
    from transformers import AutoModelForCausalLM

    import stemma
    from stemma.generation import Greedy, ModelStepper, search

    torch.set_num_threads(THREADS)
    lm = stemma.load("smollm2", dtype=dtype)
    lm.save(folder)
    assert lm.tokenizer is not None
    text = lm.tokenizer.encode((ROOT / "LICENSE").read_text(encoding="utf-8"))
    long, prompt = torch.tensor([text[:PREFILL]]), torch.tensor([text[:PROMPT]])
    stepper = ModelStepper(lm.model.pack())
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    # Neither side stops before the given length.
    theirs.generation_config.eos_token_id, theirs.generation_config.pad_token_id = None, 0

    def our_prefill() -> None:
        stepper.start([text[:PREFILL]], 1)

    def their_prefill() -> None:
        theirs(long, use_cache=True, logits_to_keep=1)

    def our_tokens() -> list[int]:
        ((best, *_),) = search(stepper, [text[:PROMPT]], Greedy(), max_new_tokens=NEW, stops=())
        return list(best.tokens)

    def their_tokens() -> list[int]:
        return theirs.generate(prompt, max_new_tokens=NEW, do_sample=False)[0, PROMPT:].tolist()

    least = DECODE_AT_LEAST[dtype]
    with torch.inference_mode():
        same = our_tokens() == their_tokens()
        bench.note(f"same tokens {dtype}", same)
        assert same or dtype != "float32", "the two choose different tokens: the comparison means nothing"
        bench.race(f"prefill {dtype}", our_prefill, their_prefill, amount=PREFILL, unit="tokens", least=1.0)
        bench.race(f"decode {dtype}", our_tokens, their_tokens, amount=NEW, unit="tokens", least=least)


with TemporaryDirectory() as place, Run("unquantised", rounds=5, peers=("transformers",)) as bench:
    for dtype in DECODE_AT_LEAST:
        compare(bench, dtype, Path(place) / dtype)
        gc.collect()
