"""Measures of ranked lists and neighbours: by hand, by scikit-learn, and their bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from stemma.errors import InputError
from stemma.metrics import average_precision, matching_accuracy, ndcg_at, recall_at, reciprocal_rank

RANKED = [["d1", "d2", "d3", "d4"], ["d9", "d8"], ["d1"]]
JUDGED = [{"d2": 1, "d4": 2, "d7": 1, "d1": 0}, {"d9": 3, "d8": -1}, {}]
GAINS = st.lists(st.integers(0, 3), min_size=2, max_size=10).filter(any)


def test_by_hand() -> None:
    # The third query has nothing relevant and is left out.
    assert recall_at(RANKED, JUDGED, 2) == pytest.approx((1 / 3 + 1) / 2)
    assert recall_at(RANKED, JUDGED, 4) == pytest.approx((2 / 3 + 1) / 2)
    assert reciprocal_rank(RANKED, JUDGED) == pytest.approx((1 / 2 + 1) / 2)
    assert reciprocal_rank(RANKED, JUDGED, 1) == pytest.approx((0 + 1) / 2)
    assert average_precision(RANKED, JUDGED) == pytest.approx(((1 / 2 + 2 / 4) / 3 + 1) / 2)
    got, best = 1 / math.log2(3) + 2 / math.log2(5), 2 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at(RANKED, JUDGED) == pytest.approx((got / best + 1) / 2)


@given(gains=GAINS, k=st.integers(1, 12))
def test_they_are_those_of_scikit_learn(gains: list[int], k: int) -> None:
    ranked, judged = [list(range(len(gains)))], [dict(enumerate(gains))]
    falling = [[-place for place in ranked[0]]]
    assert ndcg_at(ranked, judged, k) == pytest.approx(ndcg_score([gains], falling, k=k))
    relevant = np.array(gains) > 0
    assert average_precision(ranked, judged) == pytest.approx(average_precision_score(relevant, falling[0]))


@given(gains=GAINS, k=st.integers(1, 12))
def test_the_best_order_has_the_best_scores(gains: list[int], k: int) -> None:
    judged = [dict(enumerate(gains))]
    order = sorted(judged[0], key=lambda place: -gains[place])
    for metric in (ndcg_at, average_precision, recall_at, reciprocal_rank):
        best, plain = metric([order], judged, k), metric([list(judged[0])], judged, k)
        assert 0 <= plain <= best + 1e-12 <= 1 + 1e-9
    assert ndcg_at([order], judged, k) == pytest.approx(1.0)


def test_neighbours_each_way() -> None:
    draws = np.random.default_rng(0)
    vectors = draws.normal(size=(40, 16))
    assert matching_accuracy(vectors, 3 * vectors) == (1.0, 1.0)
    shifted = np.roll(vectors, 1, axis=0)
    assert matching_accuracy(vectors, shifted) == (0.0, 0.0)
    noisy = vectors + 1.2 * draws.normal(size=(40, 16))
    forward, backward = matching_accuracy(vectors, noisy)
    assert (backward, forward) == matching_accuracy(noisy, vectors)
    similarity = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in noisy] for a in vectors])
    assert forward == np.mean([row.argmax() == place for place, row in enumerate(similarity)])


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match=r"(?s)3 faults.*k=0.*ranked\[0\].*twice.*no relevant document"):
        ndcg_at([["a", "a"]], [{"a": 0}], 0)
    with pytest.raises(InputError, match="not as many"):
        recall_at([], [{"a": 1}], 1)
    with pytest.raises(InputError, match=r"second=\(1, 2\) must be \(N, D\)"):
        matching_accuracy([[1, 2], [3, 4]], [[1, 2]])
