"""Which keys a query may see: a description, made a dense tensor only where a kernel needs one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stemma.spec.windows import Block, blocks

Relative = Callable[[int, int], Float[Tensor, "1 H S T"]]
"""What is added to the scores of the last S of T positions, of every row alike; distances alone decide."""


class Scores(NamedTuple):
    """What is added to the attention's scores, in the form that `scaled_dot_product_attention` takes.

    Args:
        bias: boolean (True is seen) or additive, broadcasting to B H S T; None adds nothing.
        causal: the kernel hides later keys by itself; only with `bias` None and as many queries as keys.
        bands: the parts of the matrix that are computed, where it is not the whole; all else is hidden.
    """

    bias: Tensor | None = None
    causal: bool = False
    bands: tuple[Band, ...] = ()


class Band(NamedTuple):
    """Some queries and the keys that are scored for them.

    Args:
        block: which.
        scores: what is added to theirs.
    """

    block: Block
    scores: Scores


@dataclass(frozen=True)
class Mask:
    """Which keys a query may see. The queries are the last ones among the keys, but in cross attention.

    Args:
        causal: a query sees itself and what precedes it.
        prefix: how many first slots of each row are seen by every query all the same.
        keys: True where a key is a real token rather than padding.
        documents: number of the document of each key; a query sees its own document only.
        cross: queries and keys belong to two different sequences.
    """

    causal: bool = False
    prefix: Int[Tensor, " B"] | None = None
    keys: Bool[Tensor, "B T"] | None = None
    documents: Int[Tensor, "B T"] | None = None
    cross: bool = False

    def scores(
        self,
        n_queries: int,
        n_keys: int,
        device: torch.device,
        relative: Relative | None = None,
        window: int | None = None,
    ) -> Scores:
        """The description in the cheapest form that a kernel takes.

        Args:
            n_queries: S.
            n_keys: T.
            device: where a dense mask is made.
            relative: a bias on the scores that holds for every row.
            window: a query sees keys less than this many positions away; None for all.
        """
        size = n_queries, n_keys
        ahead = not self.causal or self.prefix is not None
        known: dict[tuple[int, ...], Scores] = {}
        bands = []
        for block in blocks(n_queries, n_keys, window, causal=not ahead):
            # Where all rows are alike, so are the blocks along a diagonal.
            place = block.queries.start if self._by_row else 0
            shape = place, block.queries.start - block.keys.start, *(part.stop - part.start for part in block)
            if shape not in known:
                known[shape] = self._added(size, block, device, relative, window)
            bands.append(Band(block, known[shape]))
        return bands[0].scores if bands[0].block == _whole(size) else Scores(bands=tuple(bands))

    def dense(
        self, n_queries: int, n_keys: int, device: torch.device, window: int | None = None
    ) -> Bool[Tensor, "rows 1 S T"]:
        """True where a query may see a key; `rows` is B, or 1 where all rows are alike.

        A padded query sees at least itself, so that no softmax runs over nothing.
        """
        size = n_queries, n_keys
        return self._seen(size, _whole(size), device, window)

    def without(self, first: int) -> Mask:
        """The same for what is left of a sequence when so many of its first slots are forgotten."""
        if not first:
            return self
        keys, documents = (None if part is None else part[:, first:] for part in (self.keys, self.documents))
        prefix = None if self.prefix is None else self.prefix - first
        return replace(self, prefix=prefix, keys=keys, documents=documents)

    @property
    def _by_row(self) -> bool:
        return not (self.keys is None and self.documents is None and self.prefix is None)

    def _added(
        self, size: tuple[int, int], block: Block, device: torch.device, relative: Relative | None, window: int | None
    ) -> Scores:
        """What is added to a block's scores."""
        (start, stop), keys = _slots(size, block), block.keys
        later = self.causal and keys.stop > start + 1
        far = window is not None and max(stop - 1 - keys.start, keys.stop - 1 - start) >= window
        hiding = later or far or self._by_row
        if relative is not None:
            bias = relative(keys.stop - start, keys.stop - keys.start)[:, :, : stop - start]
            return Scores(bias.masked_fill(~self._seen(size, block, device, window), -torch.inf) if hiding else bias)
        if later and not (far or self._by_row) and (start, stop) == (keys.start, keys.stop):
            return Scores(causal=True)
        return Scores(self._seen(size, block, device, window) if hiding else None)

    def _seen(
        self, size: tuple[int, int], block: Block, device: torch.device, window: int | None
    ) -> Bool[Tensor, "rows 1 S T"]:
        """The part of the dense mask that is a block's."""
        (start, stop), keys = _slots(size, block), block.keys
        key_T = torch.arange(keys.start, keys.stop, device=device)
        query_S1 = torch.arange(start, stop, device=device)[:, None]
        seen = torch.ones(stop - start, keys.stop - keys.start, dtype=torch.bool, device=device)
        if self.causal:
            seen = seen & (key_T <= query_S1)
        seen = seen[None, None]
        if self.prefix is not None:
            seen = seen | (key_T < self.prefix[:, None, None, None])
        if window is not None:
            seen = seen & ((query_S1 - key_T).abs() < window)
        if self.keys is not None:
            seen = seen & self.keys[:, None, None, keys]
        if self.documents is not None:
            seen = seen & (self.documents[:, None, start:stop, None] == self.documents[:, None, None, keys])
        return seen if self.cross else seen | (key_T == query_S1)


def _whole(size: tuple[int, int]) -> Block:
    n_queries, n_keys = size
    return Block(slice(0, n_queries), slice(0, n_keys))


def _slots(size: tuple[int, int], block: Block) -> tuple[int, int]:
    """Where a block's queries begin and end among the keys."""
    n_queries, n_keys = size
    return n_keys - n_queries + block.queries.start, n_keys - n_queries + block.queries.stop
