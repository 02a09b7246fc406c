"""The rows of a task: examples made beforehand, each epoch in an order of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stemma.data import Row
from stemma.objectives import Example

_ORDER = 7
_KEPT = 2  # orders: a step may reach over the end of an epoch


class Shuffled:
    """An endless sequence of rows, any of them at any time and always the same.

    Args:
        examples: at least one.
        seed: of every epoch's order.
    """

    def __init__(self, examples: Sequence[Example], seed: int) -> None:
        self._examples, self._seed = examples, seed
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._examples)

    def row(self, number: int) -> Row:
        """A row of the run; every epoch reads each example once.

        Args:
            number: from 0; there is no last one.
        """
        epoch, index = divmod(number, len(self))
        place = int(self._order(epoch)[index])
        return Row((), (self._seed, epoch, place), self._examples[place])

    def _order(self, epoch: int) -> np.ndarray:
        order = self._orders.get(epoch)
        if order is None:
            draws = np.random.Generator(np.random.Philox(np.random.SeedSequence((self._seed, _ORDER, epoch))))
            order = draws.permutation(len(self))
            # Never changed in place: another thread may ask at the same time.
            self._orders = dict([*self._orders.items(), (epoch, order)][-_KEPT:])
        return order
