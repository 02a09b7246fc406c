"""How token vectors become one vector of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PoolingKind = Literal["mean", "cls", "max", "last"]


@dataclass(frozen=True)
class Pooling:
    """One vector from the last hidden states of a text (Reimers and Gurevych 2019, Sentence-BERT, section 3).

    Args:
        kind: the mean or the maximum over the real tokens, the first token's vector, or the last one's.
        normalise: scale the vector to length 1.
        max_tokens: longer texts are cut to this many tokens, special ones counted; None for the model's own limit.
    """

    kind: PoolingKind = "mean"
    normalise: bool = False
    max_tokens: int | None = None
