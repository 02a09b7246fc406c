"""Schedules against their equations."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from stemma.training import Constant, Cosine, InverseSqrt, Linear, Schedule, SlantedTriangular, WarmupStableDecay

STEPS = 200
ALL: list[Schedule] = [
    Constant(warmup=10),
    Linear(warmup=10),
    Cosine(warmup=10),
    InverseSqrt(warmup=10),
    SlantedTriangular(),
    WarmupStableDecay(warmup=10, decay=40),
]
each = pytest.mark.parametrize("schedule", ALL, ids=lambda one: type(one).__name__)


@each
def test_it_rises_to_1_once_and_never_above(schedule: Schedule) -> None:
    factors = [schedule.factor(step, STEPS) for step in range(STEPS)]
    assert max(factors) == 1.0
    assert min(factors) > 0.0
    top = factors.index(1.0)
    assert all(a < b for a, b in pairwise(factors[: top + 1]))
    assert all(a >= b for a, b in pairwise(factors[top:]))


@each
def test_a_run_of_one_step_learns(schedule: Schedule) -> None:
    assert 0.0 < type(schedule)().factor(0, 1) <= 1.0


def test_slanted_triangle_is_equation_3() -> None:
    """With T, cut_frac and ratio of the paper's example: 0.1 and 32."""
    cut = math.floor(STEPS * 0.1)
    for t in range(STEPS):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / 0.1 - 1))
        assert SlantedTriangular().factor(t, STEPS) == pytest.approx((1 + p * (32 - 1)) / 32, abs=1e-12)


def test_inverse_square_root_is_that_of_the_transformer() -> None:
    """d ** -0.5 min(step ** -0.5, step warmup ** -1.5), divided by its highest value."""
    for step in range(1, STEPS + 1):
        theirs = min(step**-0.5, step * 40**-1.5) / 40**-0.5
        assert InverseSqrt(warmup=40).factor(step - 1, STEPS) == pytest.approx(theirs, rel=1e-12)


def test_known_values() -> None:
    assert Cosine(floor=0.1).factor(100, 200) == pytest.approx(0.55)
    assert Linear(warmup=100, floor=0.5).factor(150, 200) == pytest.approx(0.75)
    stable = WarmupStableDecay(decay=100, floor=0.2)
    assert [stable.factor(step, 200) for step in (0, 100)] == [1.0, 1.0]
    assert stable.factor(125, 200) == pytest.approx(0.2 + 0.8 * 0.5)
