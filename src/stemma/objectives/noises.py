"""Where corruption falls: how long spans are, and where in a text they stand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stemma.data import Frame, Ids

Lengths = NDArray[np.int64]


def unframed(ids: Ids, frame: Frame) -> Ids:
    """A text without what stands around its documents: they follow one another unmarked, as T5 was given them.

    Args:
        ids: one or more documents, each in its frame.
        frame: theirs.

    >>> unframed(np.array([1, 7, 8, 2, 1, 9, 2]), Frame((1,), (2,)))
    array([7, 8, 9])
    """
    return ids[~np.isin(ids, (*frame.before, *frame.after))]


def share_of(n: int, rate: float) -> int:
    """How many of n are a share of them, to the nearest whole one.

    >>> share_of(10, 0.15), share_of(3, 0.15)
    (2, 0)
    """
    return round(n * rate)


def poisson_lengths(draws: np.random.Generator, total: int, mean: float, least: int) -> Lengths:
    """Lengths of spans that together cover so many tokens; the last that is drawn is cut to fit.

    Args:
        draws: the source of randomness.
        total: tokens that are covered.
        mean: of the Poisson distribution.
        least: shorter ones are drawn again.
    """
    lengths = np.zeros(0, dtype=np.int64)
    while lengths.sum() < total:
        drawn = draws.poisson(mean, total)
        lengths = np.concatenate((lengths, drawn[drawn >= least]))
    if not total:
        return lengths
    lengths = lengths[: np.searchsorted(lengths.cumsum(), total) + 1]
    lengths[-1] -= lengths.sum() - total
    mixed: Lengths = draws.permutation(lengths)
    return mixed


def scattered(draws: np.random.Generator, lengths: Lengths, n: int) -> Lengths:
    """Where spans of these lengths begin, in their order, so that no two overlap.

    Args:
        draws: the source of randomness.
        lengths: of the spans.
        n: tokens of the text.
    """
    kept_before = np.sort(draws.integers(n - lengths.sum() + 1, size=len(lengths)))
    starts: Lengths = kept_before + lengths.cumsum() - lengths
    return starts


def covered(starts: Lengths, stops: Lengths, n: int) -> NDArray[np.bool_]:
    """Which of n places lie in a span.

    >>> covered(np.array([1, 3]), np.array([2, 5]), 6)
    array([False,  True, False,  True,  True, False])
    """
    edges = np.bincount(starts, minlength=n + 1) - np.bincount(stops, minlength=n + 1)
    inside: NDArray[np.bool_] = edges.cumsum()[:n] > 0
    return inside


def segments(draws: np.random.Generator, n: int, n_segments: int) -> Lengths:
    """Lengths of so many segments that make up n, none empty, every way as likely (`_random_segmentation` of T5).

    Args:
        draws: the source of randomness.
        n: tokens.
        n_segments: at most n.
    """
    cuts = np.sort(draws.choice(n - 1, n_segments - 1, replace=False)) + 1
    return np.append(cuts, n) - np.insert(cuts, 0, 0)
