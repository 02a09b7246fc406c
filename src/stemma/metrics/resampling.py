"""How sure a figure is: by drawing the items again, and over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stemma.errors import Fault, InputError
from stemma.metrics.checks import check_lengths, numbers

Statistic = Callable[[NDArray[np.float64]], Any]


class Interval(NamedTuple):
    """The ends of an interval."""

    low: float
    high: float


class Comparison(NamedTuple):
    """What a first system is ahead of a second.

    Args:
        difference: of their means on all items.
        low: end of the interval of the difference.
        high: its other end.
        doubt: the share of draws in which the first is not ahead; draws that tie count half.
    """

    difference: float
    low: float
    high: float
    doubt: float


class MeanDeviation(NamedTuple):
    """A mean and the deviation of single values from it."""

    mean: float
    deviation: float


def bootstrap_interval(
    values: ArrayLike, *, seed: int = 0, level: float = 0.95, rounds: int = 1000, statistic: Statistic = np.mean
) -> Interval:
    """The interval that holds a statistic in a share `level` of draws of as many items, with replacement.

    Args:
        values: (N,) a score an item, or (N, ...) what the statistic is computed from.
        seed: of the draws.
        level: between 0 and 1.
        rounds: how many draws.
        statistic: an array of items -> a number.

    Raises:
        InputError: no values, or values or options out of range.

    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (the percentile interval).

    >>> bootstrap_interval([1.0, 1.0, 1.0])
    Interval(low=1.0, high=1.0)
    """
    items = numbers("bootstrap_interval", values)
    return _interval(_draw("bootstrap_interval", items, seed, level, rounds, statistic), level)


def paired_bootstrap(
    first: ArrayLike, second: ArrayLike, *, seed: int = 0, level: float = 0.95, rounds: int = 1000
) -> Comparison:
    """Whether one system is better than another on the same items, drawn again together.

    Args:
        first: (N,) its score on each item.
        second: (N,) the other's score on the same items.
        seed: of the draws.
        level: of the interval, between 0 and 1.
        rounds: how many draws.

    Raises:
        InputError: of unequal lengths, or values or options out of range.

    Source:
        Koehn 2004, Statistical Significance Tests for Machine Translation Evaluation, section 4.

    >>> paired_bootstrap([1, 1, 1], [0, 0, 0])
    Comparison(difference=1.0, low=1.0, high=1.0, doubt=0.0)
    """
    ours, theirs = (numbers("paired_bootstrap", values).reshape(-1) for values in (first, second))
    check_lengths("paired_bootstrap", ours, theirs)
    ahead = ours - theirs
    drawn = _draw("paired_bootstrap", ahead, seed, level, rounds, np.mean)
    doubt = float(np.mean((drawn < 0) + 0.5 * (drawn == 0)))
    return Comparison(float(ahead.mean()), *_interval(drawn, level), doubt)


def mean_deviation(values: ArrayLike) -> MeanDeviation:
    """The mean over seeds and the sample deviation sqrt(sum (x - mean)^2 / (n - 1)), which is nan of a single value.

    >>> mean_deviation([1.0, 2.0, 3.0])
    MeanDeviation(mean=2.0, deviation=1.0)
    """
    items = numbers("mean_deviation", values).reshape(-1)
    return MeanDeviation(float(items.mean()), float(items.std(ddof=1)) if len(items) > 1 else math.nan)


def _draw(
    metric: str, items: NDArray[np.float64], seed: int, level: float, rounds: int, statistic: Statistic
) -> NDArray[np.float64]:
    """The statistic of each draw."""
    faults = []
    if not 0 < level < 1:
        faults.append(Fault("level", level, "must lie between 0 and 1", "use 0.95"))
    if rounds < 1:
        faults.append(Fault("rounds", rounds, "must be at least 1", "use 1000"))
    if faults:
        raise InputError(metric, faults)
    draws = np.random.default_rng(seed)
    return np.array([float(statistic(items[draws.integers(len(items), size=len(items))])) for _ in range(rounds)])


def _interval(drawn: NDArray[np.float64], level: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
