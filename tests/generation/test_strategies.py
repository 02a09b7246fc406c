"""Strategies check their values when they are made, all at once."""

from __future__ import annotations

import importlib.util
import math
import sys

import pytest

import stemma.generation.strategies as checked
from stemma.errors import InputError

# As users run it: without the check of types under which the tests run, which would come first.
_SPEC = importlib.util.spec_from_file_location("strategies_unchecked", checked.__file__)
unchecked = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = unchecked
_SPEC.loader.exec_module(unchecked)

Beam, DiverseBeam, Greedy = unchecked.Beam, unchecked.DiverseBeam, unchecked.Greedy
Sample, StochasticBeam = unchecked.Sample, unchecked.StochasticBeam

BROKEN = [
    (Sample, {"temperature": 0.0}),
    (Sample, {"temperature": math.nan}),
    (Sample, {"temperature": math.inf}),
    (Sample, {"top_k": 0}),
    (Sample, {"top_k": 2.5}),
    (Sample, {"top_k": True}),
    (Sample, {"top_p": 0.0}),
    (Sample, {"top_p": 1.5}),
    (Sample, {"min_p": -0.1}),
    (Sample, {"min_p": "half"}),
    (Sample, {"repetition_penalty": -1.0}),
    (Sample, {"seed": None}),
    (Beam, {"width": 0}),
    (Beam, {"width": None}),
    (Beam, {"length_penalty": math.inf}),
    (Beam, {"width": 2, "n_best": 3}),
    (DiverseBeam, {"width": 4, "groups": 3}),
    (DiverseBeam, {"width": 4, "groups": 2, "diversity": -1.0}),
    (StochasticBeam, {"width": 2, "n_best": 3}),
    (StochasticBeam, {"temperature": -1.0}),
]


@pytest.mark.parametrize(("kind", "values"), BROKEN)
def test_a_broken_value_is_named(kind: type, values: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        kind(**values)
    assert caught.value.where == kind.__name__
    (fault,) = caught.value.faults
    assert values[fault.field] is fault.value
    assert fault.rule
    assert fault.remedy


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        Sample(temperature=-1, top_k=0, top_p=2, min_p=2, repetition_penalty=0, seed=0.5)
    assert {fault.field for fault in caught.value.faults} == {
        "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed",
    }  # fmt: skip


def test_good_values_pass() -> None:
    assert Greedy() == Greedy()
    assert Sample(temperature=2, top_k=1, top_p=1.0, min_p=0, seed=-3).top_k == 1
    assert Beam() == Beam(width=4, length_penalty=1.0, n_best=1)
    assert DiverseBeam(width=4, groups=2).diversity == 0.5
    assert StochasticBeam(width=3, n_best=3).seed == 0
