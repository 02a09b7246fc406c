"""Lengths and places of spans, against what can be counted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from stemma.objectives.noises import covered, poisson_lengths, scattered, segments


def test_every_way_to_cut_is_as_likely() -> None:
    draws, n_draws = np.random.default_rng(0), 6000
    found = Counter(tuple(segments(draws, 5, 3).tolist()) for _ in range(n_draws))
    ways = {(a, b, 5 - a - b) for a in range(1, 4) for b in range(1, 5 - a)}
    assert found.keys() == ways
    share = 1 / len(ways)
    deviation = (share * (1 - share) / n_draws) ** 0.5
    assert all(abs(count / n_draws - share) < 4 * deviation for count in found.values())


@pytest.mark.parametrize(("n", "n_segments"), [(1, 1), (7, 1), (7, 7), (300, 45)])
def test_segments_make_up_the_whole(n: int, n_segments: int) -> None:
    lengths = segments(np.random.default_rng(0), n, n_segments)
    assert (len(lengths), lengths.sum(), lengths.min() >= 1) == (n_segments, n, True)


@pytest.mark.parametrize("least", [0, 1])
def test_lengths_are_poisson_and_fit(least: int) -> None:
    draws = np.random.default_rng(0)
    lengths = poisson_lengths(draws, 300_000, 3.0, least)
    assert lengths.sum() == 300_000
    kept = -np.expm1(-3.0) if least else 1.0
    mean, square = 3.0 / kept, 12.0 / kept
    deviation = ((square - mean**2) / len(lengths)) ** 0.5
    assert abs(lengths.mean() - mean) < 3 * deviation
    none = np.exp(-3.0) * (least == 0)
    assert abs((lengths == 0).mean() - none) <= 3 * (none * (1 - none) / len(lengths)) ** 0.5


@pytest.mark.parametrize("total", [0, 1, 2, 3, 10])
def test_lengths_of_few_tokens_fit(total: int) -> None:
    for seed in range(50):
        lengths = poisson_lengths(np.random.default_rng(seed), total, 3.0, 0)
        assert lengths.sum() == total
        assert (lengths >= 0).all()


def test_spans_never_overlap() -> None:
    for seed in range(200):
        draws = np.random.default_rng(seed)
        lengths = poisson_lengths(draws, 12, 3.0, 0)
        starts = scattered(draws, lengths, 20)
        stops = starts + lengths
        assert starts.min() >= 0
        assert stops.max() <= 20
        assert (starts[1:] >= stops[:-1]).all()
        assert covered(starts, stops, 20).sum() == 12


def test_a_span_may_stand_anywhere() -> None:
    draws = np.random.default_rng(0)
    starts = Counter(int(scattered(draws, np.array([3]), 10)[0]) for _ in range(8000))
    assert set(starts) == set(range(8))
    assert all(abs(count / 8000 - 1 / 8) < 4 * (7 / 64 / 8000) ** 0.5 for count in starts.values())
