"""Measures of numbers, clusters and samples, against scipy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from stemma.errors import InputError
from stemma.metrics import (
    adjusted_rand,
    bootstrap_interval,
    mean_deviation,
    mean_squared_error,
    paired_bootstrap,
    pearson,
    purity,
    ranks,
    spearman,
    v_measure,
)

FEW = st.integers(-5, 5).map(float)
PAIRS = st.lists(st.tuples(FEW, FEW), min_size=2, max_size=30)
CLUSTERS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), min_size=1, max_size=30)


@given(pairs=PAIRS)
def test_correlations_are_those_of_scipy(pairs: list[tuple[float, float]]) -> None:
    x, y = np.array(pairs).T
    assert ranks(x) == pytest.approx(stats.rankdata(x))
    assert mean_squared_error(x, y) == pytest.approx(reference.mean_squared_error(x, y))
    assume(np.ptp(x) and np.ptp(y))
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@given(pairs=PAIRS, scale=st.sampled_from([1e-200, 1e-3, 1.0, 1e200]), shift=st.integers(-3, 3))
def test_correlations_keep_under_scale_and_monotone_change(
    pairs: list[tuple[float, float]], scale: float, shift: int
) -> None:
    x, y = np.array(pairs).T
    assert pearson(x * scale, y) == pytest.approx(pearson(x, y), abs=1e-9)
    assert pearson(x + shift, y) == pytest.approx(pearson(x, y), abs=1e-9)
    assert spearman(np.exp(x), y) == pytest.approx(spearman(x, y), abs=1e-12)
    assert -1 <= pearson(x, y) <= 1


@pytest.mark.parametrize("constant", [0.1, 0.0, 1e-300])
def test_a_constant_correlates_with_nothing(constant: float) -> None:
    assert pearson([constant] * 7, range(7)) == 0.0
    assert spearman(range(7), [constant] * 7) == 0.0


@given(pairs=CLUSTERS)
def test_clusters_are_measured_as_by_scikit_learn(pairs: list[tuple[str, int]]) -> None:
    gold, said = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert v_measure(gold, said) == pytest.approx(reference.v_measure_score(gold, said), abs=1e-9)
    assert adjusted_rand(gold, said) == pytest.approx(reference.adjusted_rand_score(gold, said), abs=1e-12)
    table = reference.cluster.contingency_matrix(gold, said)
    assert purity(gold, said) == pytest.approx(table.max(0).sum() / len(pairs))
    for metric in (v_measure, adjusted_rand, purity):
        assert metric(gold, [7 - name for name in said]) == pytest.approx(metric(gold, said))
        assert metric(gold[::-1], said[::-1]) == pytest.approx(metric(gold, said))
        assert metric(gold, gold) == pytest.approx(1.0)


def test_an_interval_is_near_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(values, seed=1, rounds=2000)
    error = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert low == pytest.approx(values.mean() - error, abs=0.012)
    assert high == pytest.approx(values.mean() + error, abs=0.012)
    narrow = bootstrap_interval(values, seed=1, rounds=2000, level=0.5)
    assert low < narrow.low < values.mean() < narrow.high < high
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_an_interval_of_any_statistic() -> None:
    x = np.arange(50.0)
    pairs = np.column_stack([x, x + 20 * np.random.default_rng(0).normal(size=50)])
    low, high = bootstrap_interval(pairs, statistic=lambda drawn: spearman(drawn[:, 0], drawn[:, 1]), rounds=200)
    assert -1 < low < spearman(*pairs.T) < high < 1


def test_two_systems_on_the_same_items() -> None:
    draws = np.random.default_rng(0)
    worse = draws.normal(size=200)
    better = worse + 0.3 + 0.5 * draws.normal(size=200)
    ahead = paired_bootstrap(better, worse)
    assert ahead.difference == pytest.approx(np.mean(better - worse))
    assert ahead.low < ahead.difference < ahead.high
    assert ahead.doubt < 0.01
    behind = paired_bootstrap(worse, better)
    assert (behind.difference, behind.low, behind.high) == pytest.approx((-ahead.difference, -ahead.high, -ahead.low))
    assert paired_bootstrap(worse, worse).doubt == 0.5


def test_mean_and_deviation() -> None:
    assert mean_deviation([90.0, 91.0, 92.0]) == pytest.approx((91.0, 1.0))
    mean, deviation = mean_deviation([90.0])
    assert mean == 90.0
    assert math.isnan(deviation)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match=r"values\[1\]=nan is no finite number"):
        pearson([1.0, math.nan], [1.0, 2.0])
    with pytest.raises(InputError, match="at least one"):
        mean_deviation([])
    with pytest.raises(InputError, match=r"(?s)2 faults.*level=1.*rounds=0"):
        bootstrap_interval([1.0], level=1, rounds=0)
    with pytest.raises(InputError, match="not as many"):
        paired_bootstrap([1.0, 2.0], [1.0])
