"""Positions against what their papers say, written out."""

from __future__ import annotations

import cmath
import math

import pytest
import torch

from stemma.nn.positions import RelativeBias, position_ids, rotate, rotation, sinusoids
from stemma.spec.parts import RelativeBuckets, Rotary, Sinusoidal

from ..tolerances import FP64


def test_rotary_turns_each_pair_as_a_complex_number() -> None:
    places = torch.tensor([[0, 1, 5, 1000]])
    x = torch.randn(1, 2, 4, 6, dtype=torch.float64)
    turned = rotate(x, rotation(Rotary(base=100.0), places, 6, torch.float64))
    for s, place in enumerate(places[0].tolist()):
        for h in range(2):
            for i in range(3):
                number = complex(x[0, h, s, i], x[0, h, s, i + 3]) * cmath.exp(1j * place * 100.0 ** (-2 * i / 6))
                assert abs(number - complex(turned[0, h, s, i], turned[0, h, s, i + 3])) <= FP64


def test_rotary_products_depend_on_the_distance_alone() -> None:
    x, y = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)

    def product(first: int, second: int) -> float:
        turns = [rotation(Rotary(), torch.tensor([[place]]), 8, torch.float64) for place in (first, second)]
        return float((rotate(x, turns[0]) * rotate(y, turns[1])).sum())

    assert abs(product(7, 3) - product(104, 100)) <= FP64
    assert abs(product(7, 3) - product(3, 7)) > 1e-3


@pytest.mark.parametrize("layout", ["interleaved", "halves"])
def test_sinusoids_are_those_of_the_formula(layout: str) -> None:
    waves = sinusoids(Sinusoidal(layout), torch.tensor([[0, 3, 700]]), 6, torch.float64)
    for s, place in enumerate((0, 3, 700)):
        for i in range(3):
            angle = place / 10_000 ** (2 * i / 6)
            sine, cosine = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, i + 3)
            assert abs(float(waves[0, s, sine]) - math.sin(angle)) <= FP64
            assert abs(float(waves[0, s, cosine]) - math.cos(angle)) <= FP64


@pytest.mark.parametrize("both", [True, False])
def test_buckets_are_those_of_t5(both: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(-300, 301)[None]
    ours = RelativeBias(RelativeBuckets(32, 128), 1, bidirectional=both).bucket(distance)
    theirs = T5Attention._relative_position_bucket(distance, bidirectional=both, num_buckets=32, max_distance=128)
    assert torch.equal(ours, theirs)
    assert len(ours.unique()) == (31 if both else 32)  # of both directions, "zero or less" holds one row more


def test_positions_begin_where_a_text_does() -> None:
    starts = torch.tensor([0, 2])
    assert position_ids(3, 1, torch.device("cpu"), starts).tolist() == [[1, 2, 3], [0, 0, 1]]
