"""Measures of clusters against true classes; the names of the clusters do not matter."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from stemma.metrics.checks import check_lengths


def v_measure(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """The harmonic mean of homogeneity 1 - H(C|K) / H(C) and completeness 1 - H(K|C) / H(K), from 0 to 1.

    Source:
        Rosenberg and Hirschberg 2007, section 2.

    >>> v_measure(["a", "a", "b", "b"], [1, 1, 0, 0])
    1.0
    """
    table = _table("v_measure", gold, predicted)
    classes, clusters, joint = _entropy(table.sum(1)), _entropy(table.sum(0)), _entropy(table.reshape(-1))
    # V = 2 I / (H(C) + H(K)) with I the mutual information; with one class and one cluster both are perfect.
    if not classes + clusters:
        return 1.0
    return min(1.0, max(0.0, 2 * (classes + clusters - joint) / (classes + clusters)))


def adjusted_rand(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """Agreement about which pairs belong together, (index - expected) / (largest - expected): 0 by chance, 1 at best.

    Source:
        Hubert and Arabie 1985, equation 5.

    >>> round(adjusted_rand(["a", "a", "b", "b"], [0, 0, 1, 2]), 4)
    0.5714
    """
    table = _table("adjusted_rand", gold, predicted)
    index, classes, clusters = (_pairs(counts) for counts in (table.reshape(-1), table.sum(1), table.sum(0)))
    everything = _pairs(np.array([len(gold)]))
    largest = (classes + clusters) / 2
    expected = classes * clusters / everything if everything else 0.0
    return 1.0 if largest == expected else (index - expected) / (largest - expected)


def purity(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """The share of items that belong to the largest class of their cluster.

    Source:
        Manning, Raghavan and Schütze 2008, Introduction to Information Retrieval, section 16.3.

    >>> purity(["a", "a", "b", "b"], [0, 0, 0, 1])
    0.75
    """
    return float(_table("purity", gold, predicted).max(0).sum()) / len(gold)


def _table(metric: str, gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> NDArray[np.int64]:
    """How many items are of each class (row) and cluster (column)."""
    check_lengths(metric, gold, predicted)
    rows, columns = ({name: place for place, name in enumerate(dict.fromkeys(names))} for names in (gold, predicted))
    table = np.zeros((len(rows), len(columns)), dtype=np.int64)
    np.add.at(table, ([rows[name] for name in gold], [columns[name] for name in predicted]), 1)
    return table


def _entropy(counts: NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return -float(np.sum(shares * np.log(shares))) + 0.0


def _pairs(counts: NDArray[np.int64]) -> float:
    return float((counts * (counts - 1) // 2).sum())
