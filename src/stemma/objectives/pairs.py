"""Two texts that belong together."""

from __future__ import annotations

import numpy as np

from stemma.data import Frame, Ids


def framed(text: Ids, frame: Frame) -> Ids:
    """A text in its frame.

    >>> framed(np.array([7, 8]), Frame((1,), (2,)))
    array([1, 7, 8, 2])
    """
    return np.concatenate((frame.before, text, frame.after)).astype(np.int64)


def fitted(parts: tuple[Ids, ...], room: int) -> tuple[Ids, Ids]:
    """The beginnings of two texts that together find room; the longer one is cut first.

    >>> fitted((np.arange(5), np.arange(2)), 4)
    (array([0, 1]), array([0, 1]))
    """
    first, second = parts
    first = first[: max(room - len(second), room // 2)]
    return first, second[: room - len(first)]
