"""Measures of labels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal, NamedTuple

from stemma.errors import Fault, InputError
from stemma.metrics.checks import check_lengths, ratio


class Scores(NamedTuple):
    """Precision, recall and their harmonic mean, each from 0 to 1."""

    precision: float
    recall: float
    f1: float


def accuracy(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """The share of items whose label is right.

    >>> accuracy(["a", "b", "b"], ["a", "b", "a"])
    0.6666666666666666
    """
    check_lengths("accuracy", gold, predicted)
    return sum(right == said for right, said in zip(gold, predicted, strict=True)) / len(gold)


def scores_of(hits: int, predicted: int, gold: int) -> Scores:
    """Precision hits / predicted, recall hits / gold, and F1 = 2PR / (P + R); each is 0 where it is 0 / 0.

    Source:
        van Rijsbergen 1979, Information Retrieval, chapter 7.

    >>> scores_of(hits=1, predicted=2, gold=1)
    Scores(precision=0.5, recall=1.0, f1=0.6666666666666666)
    """
    return Scores(ratio(hits, predicted), ratio(hits, gold), ratio(2 * hits, predicted + gold))


def precision_recall_f1(
    gold: Sequence[Hashable],
    predicted: Sequence[Hashable],
    *,
    positive: Hashable = None,
    average: Literal["macro", "micro"] = "macro",
    labels: Iterable[Hashable] | None = None,
) -> Scores:
    """Precision, recall and F1 of one label, or their average over labels.

    Args:
        gold: the right labels.
        predicted: as many labels.
        positive: the label that counts; None averages over labels.
        average: "macro" is the plain mean of the scores of each label, "micro" the scores of all their counts together.
        labels: those that are averaged; all that occur if None.

    Raises:
        InputError: of unequal lengths or empty; `positive` does not occur; `average` is unknown.

    >>> precision_recall_f1(["1", "0", "1"], ["1", "1", "0"], positive="1").f1
    0.5
    """
    check_lengths("precision_recall_f1", gold, predicted)
    if average not in ("macro", "micro"):
        raise InputError("precision_recall_f1", Fault("average", average, "is unknown", "use macro or micro"))
    of_gold, of_predicted = Counter(gold), Counter(predicted)
    if positive is not None and positive not in of_gold | of_predicted:
        there = ", ".join(sorted(map(str, of_gold | of_predicted)))
        raise InputError("precision_recall_f1", Fault("positive", positive, "does not occur", f"use one of {there}"))
    hits = Counter(right for right, said in zip(gold, predicted, strict=True) if right == said)
    counted = [positive] if positive is not None else list(of_gold | of_predicted if labels is None else labels)
    if average == "micro":
        return scores_of(*(sum(counts[label] for label in counted) for counts in (hits, of_predicted, of_gold)))
    each = [scores_of(hits[label], of_predicted[label], of_gold[label]) for label in counted]
    return Scores(*(ratio(math.fsum(column), len(each)) for column in zip(*each, strict=True)))


def matthews(gold: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """The correlation of two labellings, from -1 to 1; 0 where one of them has a single label.

    R = (c s - sum_k p_k t_k) / sqrt((s^2 - sum_k p_k^2) (s^2 - sum_k t_k^2)), with c of s items right, p_k predicted
    and t_k truly of label k.

    Source:
        Matthews 1975; for more than two labels Gorodkin 2004, equation 8.

    >>> matthews([1, 1, 0, 0], [1, 1, 0, 0]), matthews([1, 1, 0, 0], [1, 1, 1, 1])
    (1.0, 0.0)
    """
    check_lengths("matthews", gold, predicted)
    of_gold, of_predicted, n = Counter(gold), Counter(predicted), len(gold)
    right = sum(right == said for right, said in zip(gold, predicted, strict=True))
    shared = sum(of_gold[label] * of_predicted[label] for label in of_gold)
    spread = [n * n - sum(count * count for count in counts.values()) for counts in (of_gold, of_predicted)]
    return ratio(right * n - shared, math.sqrt(spread[0] * spread[1]))
