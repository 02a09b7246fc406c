"""Small random models that read and write text, as `stemma.load` gives them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from stemma.families import family
from stemma.pretrained import Pretrained
from stemma.spec.parts import Learned
from stemma.spec.pooling import Pooling
from stemma.text import Tokenizer, train

from .tiny import random_model, small_parts, tiny, untold

TEXTS = ["the first of the texts", "another one, and longer than the first of the texts", "x"]


@cache
def small_tokenizer() -> Tokenizer:
    """What they all read by."""
    return train(TEXTS * 3, vocab_size=280)


def small_model(name: str) -> Pretrained:
    """One of a family, in sizes that every format can tell."""
    known, tokenizer = family(name), small_tokenizer()
    assert known.checkpoint is not None
    sizes: dict[str, Any] = small_parts(known, tokenizer.vocab_size - 1) | {"vocab_size": tokenizer.vocab_size}
    sizes |= {"d_model": 48, "n_heads": 4, "n_kv_heads": 4, "d_head": 12} | untold(known.checkpoint)
    if isinstance(known.traits["position"], Learned):
        sizes["position"] = replace(known.traits["position"], max_positions=64)
    model = random_model(tiny(known, **sizes))
    facts = {"decoder_start_token_id": 3} if model.architecture.kind == "encoder-decoder" else {}
    pooling = Pooling("mean") if model.architecture.kind == "encoder-only" else None
    return Pretrained(name, model, tokenizer, known, pooling, facts)
