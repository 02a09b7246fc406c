"""How well a model foretells a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from stemma.errors import Fault, InputError

WINDOW = 512
"""Tokens that are read together."""

Read = Callable[[Int[Tensor, " T"]], Float[Tensor, "T V"]]
"""What gives the logits after each token of a stretch of text."""


def perplexity(read: Read, ids: Sequence[int], window: int = WINDOW) -> float:
    """exp of the mean loss in nats over the tokens of a text, which is cut into stretches that are read one by one.

    The first token of each stretch is given; what is left at the end is a shorter stretch.

    Args:
        read: a causal model.
        ids: of the text.
        window: tokens of a stretch.

    Raises:
        InputError: a text of one token, or a window of one.

    >>> round(perplexity(lambda ids: torch.zeros(len(ids), 8), [1, 2, 3, 4, 5, 6], window=4), 6)
    8.0
    """
    faults = [
        Fault(name, value, "must be at least 2", "give more")
        for name, value in {"len(ids)": len(ids), "window": window}.items()
        if value < 2
    ]
    if faults:
        raise InputError("perplexity", faults)
    total, count = 0.0, 0
    with torch.inference_mode():
        for stretch in torch.split(torch.tensor(list(ids)), window):
            if len(stretch) > 1:
                logits = read(stretch)[:-1].float()
                total += float(functional.cross_entropy(logits, stretch[1:].to(logits.device), reduction="sum"))
                count += len(stretch) - 1
    return math.exp(total / count)


def perplexity_of(lm: Any, text: str, window: int = WINDOW) -> float:
    """The same for a loaded model and a text; see `perplexity`.

    Args:
        lm: what `stemma.load` gave: a decoder.
        text: any.
        window: tokens of a stretch, of which the model's tokenizer marks no beginning.
    """

    def read(stretch: Tensor) -> Tensor:
        logits: Tensor = lm.model(stretch[None]).logits[0]
        return logits

    limit = lm.architecture.max_tokens
    return perplexity(read, lm.tokenizer.encode(text, add_special=False), min(window, limit or window))
