"""What every measure asks of its arguments."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stemma.errors import Fault, InputError


def check_lengths(metric: str, gold: Sized, predicted: Sized) -> None:
    """Raise InputError unless there are as many items on both sides, and at least one."""
    if len(gold) != len(predicted):
        rule = f"are not as many as the {len(gold)} that are right"
        raise InputError(metric, Fault("predicted", len(predicted), rule, "give one for each"))
    check_some(metric, gold)


def check_some(metric: str, items: Sized) -> None:
    """Raise InputError unless there is an item."""
    if not len(items):
        raise InputError(metric, Fault("items", 0, "must be at least one", "give something to measure"))


def numbers(metric: str, values: ArrayLike) -> NDArray[np.float64]:
    """Finite numbers as an array, its first axis the items.

    Raises:
        InputError: there is none, or some are not finite.
    """
    array: NDArray[Any] = np.asarray(values, dtype=np.float64)
    check_some(metric, array.reshape(-1))
    if not np.isfinite(array).all():
        place = int(np.argmax(~np.isfinite(array).reshape(-1)))
        value = float(array.reshape(-1)[place])
        raise InputError(metric, Fault(f"values[{place}]", value, "is no finite number", "leave it out or correct it"))
    return array


def ratio(part: float, whole: float) -> float:
    """A share, which is 0 where there is nothing to have a share of."""
    return float(part / whole) if whole else 0.0
