"""Windows: attention in a band against dense attention, the bytes of a cache, and Mistral's prefill against theirs."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from frame import THREADS, Run

LENGTHS = (1024, 2048, 4096, 8192)
WINDOW, HEADS, WIDTH = 256, 8, 64
PREFILL = 4096
SIZES = dict(n_layers=4, d_model=256, n_heads=8, n_kv_heads=2, d_ff=512, vocab_size=1000)


def compare_attention(bench: Run) -> None:
    """The band against the causal kernel over all keys, and how either grows with the length."""
    import torch

    from stemma.nn.attention import attend
    from stemma.nn.masks import Mask

    mask, device = Mask(causal=True), torch.device("cpu")
    for length in LENGTHS:
        query, key, value = torch.randn(3, 1, HEADS, length, WIDTH).unbind()
        banded, dense = (
            partial(attend, query, key, value, mask.scores(length, length, device, window=window), WIDTH**-0.5)
            for window in (WINDOW, None)
        )
        with torch.inference_mode():
            bench.race(f"attention {length}", banded, dense, amount=length, unit="tokens")
    first, last = (bench.line["figures"][f"attention {length}"] for length in (LENGTHS[0], LENGTHS[-1]))
    growth = {
        side: 1 + math.log(first[rate] / last[rate]) / math.log(LENGTHS[-1] / LENGTHS[0])
        for side, rate in (("banded", "ours"), ("dense", "theirs"))
    }
    for side, exponent in growth.items():
        bench.note(f"time of {side} attention grows with length to the power of", round(exponent, 2))
    bench.note("banded grows slower than dense", growth["banded"] < growth["dense"])


def count_cache(bench: Run) -> None:
    """Bytes that decoding holds at each length, with a window and without."""
    import torch

    from stemma.families import MISTRAL
    from stemma.nn import Model
    from stemma.spec import Full, SlidingWindow

    for name, pattern in {"window": SlidingWindow(WINDOW), "full": Full()}.items():
        model = Model(MISTRAL.build(**SIZES, attention=pattern)).eval()
        held = []
        for length in LENGTHS:
            cache = model.new_cache(1, length)
            with torch.inference_mode():
                for piece in torch.randint(SIZES["vocab_size"], (1, length)).split(64, 1):
                    model.decode(piece, cache=cache, last_only=True)
            held.append(sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values)))
            bench.note(f"bytes of a cache, {name}, {length} tokens", held[-1])
        bench.note(f"flat, {name}", len(set(held)) == 1)


def compare_prefill(bench: Run, folder: Path) -> None:
    """A small Mistral with the same weights on both sides, its prompt many times as long as the window."""
    import torch
    from transformers import AutoModelForCausalLM

    from stemma.checkpoints import Stored, write_folder
    from stemma.families import MISTRAL
    from stemma.nn import Model
    from stemma.spec import SlidingWindow

    model = Model(MISTRAL.build(**SIZES, attention=SlidingWindow(WINDOW))).eval()
    write_folder(Stored(MISTRAL, model), folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    tokens = torch.randint(SIZES["vocab_size"], (1, PREFILL))

    def our_prefill() -> torch.Tensor:
        logits = model.decode(tokens, cache=model.new_cache(1, PREFILL), last_only=True).logits
        assert logits is not None
        return logits[:, -1]

    def their_prefill() -> torch.Tensor:
        return theirs(tokens, use_cache=True, logits_to_keep=1).logits[:, -1]

    with torch.inference_mode():
        difference = float((our_prefill() - their_prefill()).abs().max())
        bench.note("largest difference of logits", difference)
        assert difference < 1e-3, "the two compute different things: the comparison means nothing"
        bench.race("prefill", our_prefill, their_prefill, amount=PREFILL, unit="tokens", least=1.0)


with TemporaryDirectory() as place, Run("windows", rounds=5, peers=("transformers",)) as bench:
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    compare_attention(bench)
    count_cache(bench)
    compare_prefill(bench, Path(place) / "mistral")
