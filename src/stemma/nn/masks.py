"""Which keys a query may see: a description, made a dense tensor only where a kernel needs one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Scores(NamedTuple):
    """What is added to the attention's scores, in the form that `scaled_dot_product_attention` takes.

    Args:
        bias: boolean (True is seen) or additive, broadcasting to B H S T; None adds nothing.
        causal: the kernel hides later keys by itself; only with `bias` None and as many queries as keys.
    """

    bias: Tensor | None = None
    causal: bool = False


@dataclass(frozen=True)
class Mask:
    """Which keys a query may see. The queries are the last ones among the keys, but in cross attention.

    Args:
        causal: a query sees itself and what precedes it.
        window: a query sees keys less than this many positions away.
        keys: True where a key is a real token rather than padding.
        documents: number of the document of each key; a query sees its own document only.
        cross: queries and keys belong to two different sequences.
    """

    causal: bool = False
    window: int | None = None
    keys: Bool[Tensor, "B T"] | None = None
    documents: Int[Tensor, "B T"] | None = None
    cross: bool = False

    def scores(
        self, n_queries: int, n_keys: int, device: torch.device, relative: Float[Tensor, "one H S T"] | None = None
    ) -> Scores:
        """The description in the cheapest form that a kernel takes.

        Args:
            n_queries: S.
            n_keys: T.
            device: where a dense mask is made.
            relative: a bias on the scores that holds for every row.
        """
        windowed = self.window is not None and n_keys > self.window
        selective = windowed or self.keys is not None or self.documents is not None
        hiding = selective or (self.causal and n_queries > 1)
        if not hiding:
            return Scores(relative)
        if relative is None and not selective and n_queries == n_keys:
            return Scores(causal=True)
        dense = self.dense(n_queries, n_keys, device)
        if relative is None:
            return Scores(dense)
        return Scores(relative.masked_fill(~dense, float("-inf")))

    def dense(self, n_queries: int, n_keys: int, device: torch.device) -> Bool[Tensor, "rows 1 S T"]:
        """True where a query may see a key; `rows` is B, or 1 where all rows are alike.

        A padded query sees at least itself, so that no softmax runs over nothing.
        """
        key_T = torch.arange(n_keys, device=device)
        query_S1 = torch.arange(n_keys - n_queries, n_keys, device=device)[:, None]
        seen = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
        if self.causal:
            seen = seen & (key_T <= query_S1)
        if self.window is not None:
            seen = seen & ((query_S1 - key_T).abs() < self.window)
        seen = seen[None, None]
        if self.keys is not None:
            seen = seen & self.keys[:, None, None, :]
        if self.documents is not None:
            seen = seen & (self.documents[:, None, n_keys - n_queries :, None] == self.documents[:, None, None, :])
        return seen if self.cross else seen | (key_T == query_S1)
