"""Vectors in groups of which nobody said what they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stemma.errors import Fault, InputError

_ROUNDS, _STARTS = 100, 4


def kmeans(vectors: ArrayLike, k: int, seed: int = 0) -> NDArray[np.int64]:
    """The number of each vector's cluster: the best of a few runs of Lloyd's algorithm.

    Args:
        vectors: (N, D), N at least k.
        k: how many clusters.
        seed: of the first centres.

    Raises:
        InputError: for more clusters than vectors, or fewer than one.

    Source:
        Lloyd 1982; the first centres are drawn as by Arthur and Vassilvitskii 2007 (k-means++), section 2.2.

    >>> kmeans([[0, 0], [9, 9], [0, 1], [9, 8]], 2).tolist() in ([0, 1, 0, 1], [1, 0, 1, 0])
    True
    """
    points = np.asarray(vectors, dtype=np.float64)
    if not 0 < k <= len(points):
        raise InputError("kmeans", Fault("k", k, f"must lie between 1 and the {len(points)} vectors", "use fewer"))
    draws = np.random.default_rng(seed)
    found = [_run(points, _first(points, k, draws)) for _ in range(_STARTS)]
    _, best = min(found, key=lambda run: run[0])
    return best


def _first(points: NDArray[np.float64], k: int, draws: np.random.Generator) -> NDArray[np.float64]:
    """Centres far apart: each drawn by the squares of the distances from those before it."""
    centres = points[[draws.integers(len(points))]]
    while len(centres) < k:
        nearest = _squares(points, centres).min(1)
        shares = nearest / nearest.sum() if nearest.any() else None
        centres = np.concatenate((centres, points[[draws.choice(len(points), p=shares)]]))
    return centres


def _run(points: NDArray[np.float64], centres: NDArray[np.float64]) -> tuple[float, NDArray[np.int64]]:
    """The sum of squares at the end, and the clusters."""
    own = _squares(points, centres).argmin(1)
    for _ in range(_ROUNDS):
        members = np.eye(len(centres))[own]
        counts = members.sum(0)[:, None]
        # A centre without members stays where it is.
        centres = np.asarray(np.where(counts > 0, members.T @ points / np.maximum(counts, 1), centres))
        before, own = own, _squares(points, centres).argmin(1)
        if np.array_equal(before, own):
            break
    return float(_squares(points, centres).min(1).sum()), own


def _squares(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the distances, N x k; never below 0."""
    squares = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
    return np.asarray(np.maximum(squares, 0))
