"""Keys and values of what was read so far, in memory that is allocated once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stemma.errors import Fault, InputError
from stemma.nn.masks import Mask, Scores
from stemma.spec.architecture import Architecture
from stemma.spec.count import module_stack
from stemma.spec.windows import TRIM, n_kept, n_slots


class LayerCache:
    """The part of a cache that belongs to one block.

    Args:
        keys: B G C K, or the whole of another sequence's keys in cross attention.
        values: of the same shape.
        window: how many of the nearest keys a query of the block sees; None for all.
        first: the slot of the sequence that stands in front; those before it are forgotten.
    """

    __slots__ = ("first", "keys", "values", "window")

    def __init__(
        self,
        keys: Float[Tensor, "B G C K"],
        values: Float[Tensor, "B G C K"],
        window: int | None = None,
        first: int = 0,
    ) -> None:
        self.keys = keys
        self.values = values
        self.window = window
        self.first = first

    def append(
        self, start: int, key: Float[Tensor, "B G S K"], value: Float[Tensor, "B G S K"]
    ) -> tuple[Float[Tensor, "B G T K"], Float[Tensor, "B G T K"]]:
        """Write at slot `start` of the sequence, and give all that is held then.

        Where a window's slots are full, what can still be seen is moved to the front. That it happens once in `TRIM`
        steps, rather than in place at each as in a ring (Jiang et al. 2023, section 2), keeps the keys in order: the
        kernels read them as they lie, and no mask has to know where the ring begins.
        """
        stop = start + key.shape[2]
        held, filled = start - self.first, stop - self.first
        if filled <= self.keys.shape[2]:
            self.keys[:, :, held:filled] = key
            self.values[:, :, held:filled] = value
            return self.keys[:, :, :filled], self.values[:, :, :filled]
        assert self.window is not None, "a cache has room for what is appended"
        kept = n_kept(self.window)
        key = torch.cat((self.keys[:, :, :held], key), 2)
        value = torch.cat((self.values[:, :, :held], value), 2)
        self.keys[:, :, :kept] = key[:, :, -kept:]
        self.values[:, :, :kept] = value[:, :, -kept:]
        self.first = stop - kept
        return key, value


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

    Of a block with a window it keeps what can still be seen and little more, however long the text grows.

    Args:
        spec: the architecture.
        batch: B.
        capacity: the most positions that it will hold.
        dtype: of keys and values.
        device: of keys and values.
        starts: the first slot of each row that holds a real token, where rows are padded on the left.
        prefix: how many first tokens of each row every token of it sees.
        blanks: with two tables of positions, that of the blank that is filled after each row's prefix.
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
        prefix: Int[Tensor, " B"] | None = None,
        blanks: Int[Tensor, " B"] | None = None,
        memory: LookUp | None = None,
    ) -> None:
        self.length = 0
        self.capacity = capacity
        self.starts = starts
        self.first_start = 0 if starts is None else int(starts.min())
        self.prefix = prefix
        self.blanks = blanks
        self.memory = memory
        self.module: Cache | None = None
        if spec.modules is not None:
            inner = module_stack(spec, spec.modules)
            self.module = Cache(inner, batch, capacity, dtype=dtype, device=device, starts=starts, prefix=prefix)
        self._windows = [spec.window(layer) for layer in range(spec.n_decoder_layers)]
        self._adopt(
            {
                window: torch.empty(
                    (count, 2, batch, spec.n_kv_heads, n_slots(capacity, window), spec.d_head),
                    dtype=dtype,
                    device=device,
                )
                for window, count in Counter(self._windows).items()
            },
            dict.fromkeys(self._windows, 0),
        )

    def _adopt(self, slots: dict[int | None, Tensor], firsts: Mapping[int | None, int]) -> None:
        """Take the memory of the blocks of each window, and what of the text stands in front of it."""
        self._slots = slots
        views = {window: iter(layers) for window, layers in slots.items()}
        pairs = ((next(views[window]), window) for window in self._windows)
        self.layers = tuple(LayerCache(pair[0], pair[1], window, firsts[window]) for pair, window in pairs)

    @property
    def _firsts(self) -> dict[int | None, int]:
        return {layer.window: layer.first for layer in self.layers}

    @property
    def batch(self) -> int:
        """B, the rows held."""
        return self.layers[0].keys.shape[0]

    def room_for(self, n_queries: int) -> None:
        """See to it that so many more positions fit, and that the first of them hold the whole prefix.

        Raises:
            InputError: where they do not.
        """
        needed = self.length + n_queries
        if needed > self.capacity:
            remedy = "make the cache with a larger capacity, or trim it"
            raise InputError("cache", Fault("length", needed, f"exceeds capacity={self.capacity}", remedy))
        if self.length == 0 and needed < self.prefix_end:
            rule = f"do not hold the prefix, which ends at slot {self.prefix_end} and is seen by all its own tokens"
            raise InputError("cache", Fault("tokens", needed, rule, "read the prefix together, before the rest"))

    @property
    def prefix_end(self) -> int:
        """The slot behind the last row's prefix; 0 where there is none."""
        ends = self._prefix_slots
        return 0 if ends is None or not len(ends) else int(ends.max())

    @property
    def _prefix_slots(self) -> Int[Tensor, " B"] | None:
        return self.prefix if self.prefix is None or self.starts is None else self.prefix + self.starts

    def mask(self, n_queries: int) -> Mask:
        """Which of the filled slots, and of the next `n_queries`, a query may see."""
        keys = None
        if self.starts is not None:
            slots = torch.arange(self.length + n_queries, device=self.starts.device)
            keys = slots >= self.starts[:, None]
        # Once it is read, a prefix precedes every query.
        return Mask(causal=True, prefix=None if self.length else self._prefix_slots, keys=keys)

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Take these rows, in this order: a row may be repeated (beams) or left out (finished texts)."""
        same_batch, firsts, slots = rows.shape[0] == self.batch, self._firsts, {}
        for window, held in self._slots.items():
            filled = held[..., : self.length - firsts[window], :].index_select(2, rows)
            shape = (*held.shape[:2], rows.shape[0], *held.shape[3:])
            slots[window] = held if same_batch else held.new_empty(shape)
            slots[window][..., : filled.shape[-2], :] = filled
        self._adopt(slots, firsts)
        if self.starts is not None:
            self.starts = self.starts[rows]
            self.first_start = int(self.starts.min()) if len(rows) else 0
        self.prefix = None if self.prefix is None else self.prefix[rows]
        self.blanks = None if self.blanks is None else self.blanks[rows]
        if self.module is not None:
            self.module.reorder(rows)
        if self.memory is not None:
            self.memory = self.memory.reorder(rows)

    def trim(self, length: int) -> None:
        """Forget all but the first `length` slots.

        With windows, what the next token would see must still be held: positions up to `TRIM` before the last that was
        read can always be forgotten, and all of them together.

        Raises:
            InputError: where fewer are filled, the prefix would be cut, or a window has forgotten what would be seen.
        """
        if not 0 <= length <= self.length:
            remedy = f"use a length from 0 to {self.length}"
            raise InputError("cache", Fault("length", length, f"is not among the {self.length} filled slots", remedy))
        if 0 < length < self.prefix_end:
            rule = f"cuts the prefix, which ends at slot {self.prefix_end} and whose first tokens have seen its last"
            raise InputError("cache", Fault("length", length, rule, "trim to 0 and read the text anew"))
        for window, first in self._firsts.items():
            seen = 0 if window is None else max(0, length - window + 1)
            if seen < min(first, length):
                rule = f"needs slots from {seen} on, of which a window of {window} has forgotten those before {first}"
                remedy = f"trim by at most {TRIM} positions, or to 0 and read the text anew"
                raise InputError("cache", Fault("length", length, rule, remedy))
        for layer in self.layers:
            layer.first = min(layer.first, length)
        self.length = length
        if self.module is not None:
            self.module.trim(length)
