"""Keys and values of what was read so far, in memory that is allocated once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stemma.errors import Fault, InputError
from stemma.nn.masks import Mask, Scores
from stemma.spec.architecture import Architecture


class LayerCache:
    """The part of a cache that belongs to one block.

    Args:
        keys: B G C K, or the whole of another sequence's keys in cross attention.
        values: of the same shape.
    """

    __slots__ = ("keys", "values")

    def __init__(self, keys: Float[Tensor, "B G C K"], values: Float[Tensor, "B G C K"]) -> None:
        self.keys = keys
        self.values = values

    def append(
        self, start: int, key: Float[Tensor, "B G S K"], value: Float[Tensor, "B G S K"]
    ) -> tuple[Float[Tensor, "B G T K"], Float[Tensor, "B G T K"]]:
        """Write at slot `start`, and give all that is filled then."""
        stop = start + key.shape[2]
        self.keys[:, :, start:stop] = key
        self.values[:, :, start:stop] = value
        return self.keys[:, :, :stop], self.values[:, :, :stop]


class LookUp(NamedTuple):
    """An encoder's output as the decoder's blocks see it.

    Args:
        layers: keys and values for each block.
        scores: which of the encoder's positions are real.
    """

    layers: tuple[LayerCache, ...]
    scores: Scores

    def reorder(self, rows: Int[Tensor, " rows"]) -> LookUp:
        """The same for these rows."""
        bias = None if self.scores.bias is None else self.scores.bias[rows]
        layers = tuple(LayerCache(layer.keys[rows], layer.values[rows]) for layer in self.layers)
        return LookUp(layers, Scores(bias))


class Cache:
    """A static cache of a decoder: appended by the model, reordered by beams, trimmed at will.

    Args:
        spec: the architecture.
        batch: B.
        capacity: C, the most positions that it will hold.
        dtype: of keys and values.
        device: of keys and values.
        starts: the first slot of each row that holds a real token, where rows are padded on the left.
        memory: the encoder's output, where there is an encoder.
    """

    def __init__(
        self,
        spec: Architecture,
        batch: int,
        capacity: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        starts: Int[Tensor, " B"] | None = None,
        memory: LookUp | None = None,
    ) -> None:
        self.length = 0
        self.starts = starts
        self.first_start = 0 if starts is None else int(starts.min())
        self.memory = memory
        shape = (spec.n_decoder_layers, 2, batch, spec.n_kv_heads, capacity, spec.d_head)
        self._adopt(torch.empty(shape, dtype=dtype, device=device))

    def _adopt(self, slots: Tensor) -> None:
        self._slots = slots
        self.layers = tuple(LayerCache(layer[0], layer[1]) for layer in slots)

    @property
    def batch(self) -> int:
        """B, the rows held."""
        return self._slots.shape[2]

    @property
    def capacity(self) -> int:
        """C, the most positions that fit."""
        return self._slots.shape[4]

    def room_for(self, n_queries: int) -> None:
        """See to it that so many more positions fit.

        Raises:
            InputError: where they do not.
        """
        needed = self.length + n_queries
        if needed > self.capacity:
            remedy = "make the cache with a larger capacity, or trim it"
            raise InputError("cache", Fault("length", needed, f"exceeds capacity={self.capacity}", remedy))

    def mask(self, window: int | None, n_queries: int) -> Mask:
        """Which of the filled slots, and of the next `n_queries`, a query may see."""
        keys = None
        if self.starts is not None:
            slots = torch.arange(self.length + n_queries, device=self._slots.device)
            keys = slots >= self.starts[:, None]
        return Mask(causal=True, window=window, keys=keys)

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Take these rows, in this order: a row may be repeated (beams) or left out (finished texts)."""
        filled = self._slots[:, :, :, :, : self.length].index_select(2, rows)
        if rows.shape[0] == self.batch:
            self._slots[:, :, :, :, : self.length] = filled
        else:
            layers, pair, _, groups, capacity, width = self._slots.shape
            slots = self._slots.new_empty((layers, pair, rows.shape[0], groups, capacity, width))
            slots[:, :, :, :, : self.length] = filled
            self._adopt(slots)
        if self.starts is not None:
            self.starts = self.starts[rows]
            self.first_start = int(self.starts.min()) if len(rows) else 0
        if self.memory is not None:
            self.memory = self.memory.reorder(rows)

    def trim(self, length: int) -> None:
        """Forget all but the first `length` slots.

        Raises:
            InputError: where fewer are filled.
        """
        if not 0 <= length <= self.length:
            remedy = f"use a length from 0 to {self.length}"
            raise InputError("cache", Fault("length", length, f"is not among the {self.length} filled slots", remedy))
        self.length = length
