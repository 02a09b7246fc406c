"""A mixture of experts against transformers' Mixtral, with the same weights: a forward pass and a step on a cache.

The peer runs as it comes (`grouped_mm` in 5.23) and in the fastest of its ways to run experts.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from frame import THREADS, Run

ROWS, LENGTH, PAST, STEPS = 2, 512, 16, 64
SHAPE = dict(n_layers=4, d_model=512, n_heads=8, n_kv_heads=2, d_ff=1792, vocab_size=4096)  # 8 experts, 2 run
WAYS = ("eager", "batched_mm")


def compare(bench: Run, folder: Path) -> None:
    """Both sides at one shape; their model is the folder that ours wrote."""
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    from stemma.checkpoints import Stored, write_folder
    from stemma.families import MIXTRAL
    from stemma.nn import Model, PackedProducts

    torch.set_num_threads(THREADS)
    model = Model(MIXTRAL.build(**SHAPE)).eval()
    write_folder(Stored(MIXTRAL, model), folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    usual = theirs.config._experts_implementation
    model.pack()
    tokens = torch.randint(SHAPE["vocab_size"], (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    fast = PackedProducts()

    def our_pass() -> torch.Tensor:
        with fast:
            return model(tokens).logits

    def their_pass() -> torch.Tensor:
        return theirs(tokens, use_cache=False).logits

    def our_steps() -> None:
        cache = model.new_cache(1, PAST + STEPS)
        with fast:
            model.decode(tokens[:1, :PAST], cache=cache)
            for place in range(PAST, PAST + STEPS):
                model.decode(tokens[:1, place : place + 1], cache=cache)

    def their_steps() -> None:
        cache = DynamicCache()
        theirs(tokens[:1, :PAST], past_key_values=cache)
        for place in range(PAST, PAST + STEPS):
            theirs(tokens[:1, place : place + 1], past_key_values=cache)

    with torch.inference_mode():
        difference = float((our_pass() - their_pass()).abs().max())
        bench.note("largest difference of logits", difference)
        assert difference < 1e-4, "the two compute different things: the comparison means nothing"
        for way in (usual, *WAYS):
            theirs.set_experts_implementation(way)
            # Batched products copy an expert's weights for every token: 8 GB for this pass.
            if way != "batched_mm":
                name = f"forward, theirs {way}"
                bench.race(name, our_pass, their_pass, amount=ROWS * LENGTH, unit="tokens", least=1.0)
            name = f"decode, theirs {way}"
            bench.race(name, our_steps, their_steps, amount=STEPS, unit="tokens", least=1.0)


with TemporaryDirectory() as place, Run("experts", rounds=7, peers=("transformers",)) as bench:
    compare(bench, Path(place) / "mixtral")
