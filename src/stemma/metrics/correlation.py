"""Measures of numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stemma.metrics.checks import check_lengths, numbers


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """The place of each value in order, from 1; equal values share the mean of their places.

    >>> ranks([30, 10, 30, 20]).tolist()
    [3.5, 1.0, 3.5, 2.0]
    """
    _, place, counts = np.unique(numbers("ranks", values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return shared


def pearson(gold: ArrayLike, predicted: ArrayLike) -> float:
    """How nearly two lists of numbers lie on a line, from -1 to 1; 0 where one of them is constant.

    r = sum (x - mean x)(y - mean y) / sqrt(sum (x - mean x)^2 sum (y - mean y)^2)

    >>> pearson([1, 2, 3], [2, 4, 6])
    1.0
    """
    x, y = _pair("pearson", gold, predicted)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    r = float(_direction(x) @ _direction(y))
    return min(1.0, max(-1.0, r))


def spearman(gold: ArrayLike, predicted: ArrayLike) -> float:
    """The Pearson correlation of the ranks, so how nearly one list grows with the other.

    Source:
        Spearman 1904; equal values share their mean rank.

    >>> spearman([1, 2, 3, 4], [1, 10, 100, 1000])
    1.0
    """
    x, y = _pair("spearman", gold, predicted)
    return pearson(ranks(x), ranks(y))


def mean_squared_error(gold: ArrayLike, predicted: ArrayLike) -> float:
    """The mean of (predicted - gold)^2.

    >>> mean_squared_error([1, 2], [1, 4])
    2.0
    """
    x, y = _pair("mean_squared_error", gold, predicted)
    return float(np.mean((y - x) ** 2))


def _pair(metric: str, gold: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = numbers(metric, gold).reshape(-1), numbers(metric, predicted).reshape(-1)
    check_lengths(metric, x, y)
    return x, y


def _direction(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviations from the mean as a vector of length 1; scaled first, so that their squares stay in range."""
    deviations = values / np.abs(values).max()
    deviations = deviations - deviations.mean()
    deviations /= np.abs(deviations).max()
    return np.asarray(deviations / np.linalg.norm(deviations))
