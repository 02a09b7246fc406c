"""Measures of ranked lists, and of nearest neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from stemma.errors import Fault, InputError
from stemma.metrics.checks import check_lengths, numbers

Ranked = Sequence[Sequence[Hashable]]
"""What was found for each query, best first; nothing twice."""
Judgements = Sequence[Mapping[Hashable, float]]
"""For each query how relevant each document is; above 0 is relevant, and those that are missing are not."""


def recall_at(ranked: Ranked, judgements: Judgements, k: int) -> float:
    """The share of the relevant documents that are among the first k, averaged over queries.

    Like the other measures here, it leaves out queries without a relevant document.

    >>> recall_at([["a", "b", "c"]], [{"a": 1, "c": 1}], k=2)
    0.5
    """
    return _mean("recall_at", ranked, judgements, k, lambda gains, ideal: sum(map(bool, gains)) / len(ideal))


def reciprocal_rank(ranked: Ranked, judgements: Judgements, k: int | None = None) -> float:
    """1 / the place of the first relevant document, 0 if there is none among the first k, averaged over queries (MRR).

    Source:
        Voorhees 1999, The TREC-8 Question Answering Track Report.

    >>> reciprocal_rank([["a", "b", "c"]], [{"b": 1, "c": 1}])
    0.5
    """
    return _mean("reciprocal_rank", ranked, judgements, k, lambda gains, ideal: _first(gains))


def ndcg_at(ranked: Ranked, judgements: Judgements, k: int | None = None) -> float:
    """The sum of relevance / log2(1 + place) over the first k, divided by the best possible, averaged over queries.

    Source:
        Järvelin and Kekäläinen 2002, section 2.2, with the discount from the first place on as in trec_eval.

    >>> round(ndcg_at([["a", "b"]], [{"a": 1, "b": 2}]), 4)
    0.8597
    """
    return _mean("ndcg_at", ranked, judgements, k, lambda gains, ideal: _discounted(gains) / _discounted(ideal[:k]))


def average_precision(ranked: Ranked, judgements: Judgements, k: int | None = None) -> float:
    """The precision at each relevant document among the first k, summed, over all relevant ones; its mean is MAP.

    Source:
        Manning, Raghavan and Schütze 2008, Introduction to Information Retrieval, section 8.4.

    >>> average_precision([["a", "b", "c"]], [{"a": 1, "c": 1}])
    0.8333333333333333
    """
    return _mean("average_precision", ranked, judgements, k, lambda gains, ideal: _precisions(gains) / len(ideal))


class Matching(NamedTuple):
    """Shares of first items whose nearest second item is their own, and of second items whose nearest first is."""

    forward: float
    backward: float


def matching_accuracy(first: ArrayLike, second: ArrayLike) -> Matching:
    """How often the nearest neighbour by cosine is an item's own translation, each way.

    Args:
        first: (N, D) vectors.
        second: (N, D), those of the translations, in the same order.

    Raises:
        InputError: of unequal shapes, or vectors that are not finite.

    Source:
        Artetxe and Schwenk 2019, section 4.3 (Tatoeba).

    >>> matching_accuracy([[1, 0], [0, 1]], [[1, 0], [2, 1]])
    Matching(forward=1.0, backward=0.5)
    """
    vectors = [numbers("matching_accuracy", values) for values in (first, second)]
    if vectors[0].ndim != 2 or vectors[0].shape != vectors[1].shape:
        rule = f"must be (N, D) like the first, {vectors[0].shape}"
        raise InputError("matching_accuracy", Fault("second", vectors[1].shape, rule, "give one vector for each"))
    ours, theirs = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300) for rows in vectors)
    own = np.arange(len(ours))
    similarity = ours @ theirs.T
    return Matching(*(float(np.mean(similarity.argmax(axis) == own)) for axis in (1, 0)))


def _mean(
    metric: str,
    ranked: Ranked,
    judgements: Judgements,
    k: int | None,
    measure: Callable[[list[float], list[float]], float],
) -> float:
    """The mean over queries of a measure of the gains of the first k found and of all relevant ones, largest first."""
    check_lengths(metric, judgements, ranked)
    faults = [] if k is None or k > 0 else [Fault("k", k, "must be at least 1", "give a number of places")]
    faults += [
        Fault(f"ranked[{query}]", found, "has a document twice", "leave out the second")
        for query, found in enumerate(ranked)
        if len(set(found)) < len(found)
    ]
    ideals = [sorted((gain for gain in judged.values() if gain > 0), reverse=True) for judged in judgements]
    if not any(ideals):
        faults.append(Fault("judgements", len(judgements), "name no relevant document", "judge one above 0"))
    if faults:
        raise InputError(metric, faults)
    scores = []
    for found, judged, ideal in zip(ranked, judgements, ideals, strict=True):
        if ideal:
            scores.append(measure([max(0.0, judged.get(document, 0.0)) for document in found[:k]], ideal))
    return math.fsum(scores) / len(scores)


def _first(gains: Sequence[float]) -> float:
    return next((1 / place for place, gain in enumerate(gains, 1) if gain), 0.0)


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(1 + place) for place, gain in enumerate(gains, 1))


def _precisions(gains: Sequence[float]) -> float:
    places = [place for place, gain in enumerate(gains, 1) if gain]
    return math.fsum(number / place for number, place in enumerate(places, 1))
