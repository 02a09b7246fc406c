"""Every objective on every family that can carry it; and the table of both in the documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stemma.data import Ids, Piece, Row
from stemma.errors import InputError
from stemma.families import catalogue
from stemma.nn import build
from stemma.objectives import (
    OBJECTIVES,
    Distillation,
    Objective,
    Pass,
    Setting,
    Vocabulary,
    collate,
    counts,
    objective,
    passes,
)
from stemma.spec import Architecture, Dropout, Family
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, Forward, Joined, Scores, TiedScores, Vectors
from stemma.text import Roles

from ..tiny import LONGEST, VOCAB, slowly, tiny, tiny_recurrent
from .vocabularies import vocabulary

ROOT = Path(__file__).resolve().parent.parent.parent
ROLES = Roles(pad=0, bos=1, cls=1, eos=2, sep=2, mask=3)
SPELLING = 9

# Each objective as it comes; one that needs a teacher is tested with one.
INSTANCES: dict[str, Objective] = {name: kind() for name, kind in OBJECTIVES.items() if kind is not Distillation}


def specification(family: Family) -> Architecture | Recurrent:
    """A toy of the family; scores are added to recurrent layers that lack them and can have them."""
    if family.shape is Architecture:
        return tiny(family, dropout=Dropout())
    spec = tiny_recurrent(family)
    if isinstance(spec.tokens, Vectors) or spec.head(Scores) or spec.head(TiedScores):
        return spec.change(dropout=type(spec.dropout)())
    # A direction that has seen what follows cannot learn to predict it.
    directions = Forward() if isinstance(spec.directions, Joined) else spec.directions
    return spec.change(heads=(Scores(VOCAB),), directions=directions, dropout=type(spec.dropout)())


def setting(family: Family) -> Setting:
    spec = specification(family)
    spelt = isinstance(spec, Recurrent) and isinstance(spec.tokens, Characters)
    size = spec.vocab_size if isinstance(spec, Architecture) else VOCAB
    return Setting(vocabulary(size, ROLES, spelling=SPELLING if spelt else None), LONGEST, spec)


def carried(family: Family) -> list[str]:
    what = setting(family)
    return [name for name, one in INSTANCES.items() if not one.faults(what)]


def rows(one: Objective, known: Vocabulary) -> list[Row]:
    """Three rows, of unequal length where that may be."""
    draws = np.random.default_rng(0)

    def text(n: int) -> Ids:
        return draws.choice(known.ordinary, n)

    def framed(n: int) -> Piece:
        return Piece((np.array([*known.frame.before, *text(n), *known.frame.after]),))

    def pieces(number: int) -> tuple[Piece, ...]:
        match one.reads:
            case "pairs":
                return (Piece((text(5), text(6 + number)), (0, 1)),)
            case "neighbours":
                return Piece((text(9 + number),)), Piece((text(9),), document=1)
            case "pieces":
                return (framed(7 + number),)
            case "stream":
                return (framed(one.takes(LONGEST) - 2),)
        return framed(5), framed(5 + number)

    return [Row(pieces(number), (0, 0, number)) for number in range(3)]


def cases() -> list[Any]:
    return [
        pytest.param(family, name, id=f"{family.name}-{name}", marks=slowly(family))
        for family in catalogue()
        for name in carried(family)
    ]


@pytest.mark.parametrize(("family", "name"), cases())
def test_a_family_learns_by_what_it_can_carry(family: Family, name: str) -> None:
    """One pass forwards and backwards: every loss is finite, near that of a guess, and moves the weights."""
    one, what = INSTANCES[name], setting(family)
    (alone,) = passes((one,))
    batch = collate([alone.prepare(row, what) for row in rows(one, what.vocabulary)], pad=0)
    model, companions = build(what.spec, seed=0), one.companions(what, 1)
    one.share(model, companions)
    sums, n = alone.losses(model, companions, batch), counts(batch)
    loss = torch.stack([alone.weight(term) * cost / n[term] for term, cost in sums.items()]).sum()
    loss.backward()
    assert torch.isfinite(loss)
    for term in batch.asked:
        assert n[term] > 0, term
        assert 0 < float(sums[term].detach()) / n[term] < 2 * np.log(VOCAB), term
    slopes = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert any(bool(slope.any()) for slope in slopes)
    assert all(bool(slope.isfinite().all()) for slope in slopes)


@pytest.mark.parametrize("family", catalogue(), ids=lambda family: family.name)
def test_the_same_key_prepares_the_same_example(family: Family) -> None:
    what = setting(family)
    for name in carried(family):
        one = INSTANCES[name]
        (row, *_) = rows(one, what.vocabulary)
        first, second = (Pass((one,)).prepare(row, what) for _ in range(2))
        assert first.inputs.keys() == second.inputs.keys(), name
        assert all(np.array_equal(first.inputs[key], second.inputs[key]) for key in first.inputs), name
        assert all(np.array_equal(first.targets[key].ids, second.targets[key].ids) for key in first.targets), name


def test_every_family_carries_something_and_everything_is_carried() -> None:
    found = {family.name: carried(family) for family in catalogue()}
    assert [name for name, held in found.items() if not held] == []
    assert {name for held in found.values() for name in held} == INSTANCES.keys()


@pytest.mark.parametrize("family", catalogue(), ids=lambda family: family.name)
def test_what_cannot_be_carried_is_refused_with_a_reason(family: Family) -> None:
    for name, one in INSTANCES.items():
        for fault in one.faults(setting(family)):
            assert fault.field == "objective", name
            assert fault.value == name
            assert fault.rule
            assert fault.remedy


def test_the_documents_say_who_carries_what() -> None:
    wanted: dict[str, list[str]] = {}
    for family in catalogue():
        wanted.setdefault(", ".join(carried(family)), []).append(family.name)
    lines = [f"| {', '.join(families)} | {held} |" for held, families in wanted.items()]
    page = (ROOT / "docs" / "objectives.md").read_text(encoding="utf-8")
    missing = [line for line in lines if line not in page.splitlines()]
    assert not missing, "\n".join(["the table should read:", *lines])


def test_names() -> None:
    assert all(objective(name) is kind and kind.name == name for name, kind in OBJECTIVES.items())
    with pytest.raises(InputError, match="use causal, prefix, mlm"):
        objective("no-such")
