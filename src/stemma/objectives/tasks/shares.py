"""Scores to probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def shares(scores: np.ndarray) -> np.ndarray:
    """The softmax over the last axis, in float64; a score of -inf has no share.

    >>> shares(np.array([0.0, 0.0, -np.inf])).tolist()
    [0.5, 0.5, 0.0]
    """
    raised = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    found: np.ndarray = raised / raised.sum(-1, keepdims=True)
    return found


def likeliest(labels: Sequence[str], scores: np.ndarray) -> dict[str, float]:
    """Each label's probability, the likeliest first.

    Args:
        labels: N names.
        scores: N.

    >>> likeliest(("no", "yes"), np.zeros(2))
    {'no': 0.5, 'yes': 0.5}
    """
    return dict(sorted(zip(labels, shares(scores).tolist(), strict=True), key=lambda pair: -pair[1]))
