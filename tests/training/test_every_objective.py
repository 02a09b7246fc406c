"""Every objective learns by the one loop, in parts as in a whole, and goes on where it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from stemma.errors import InputError
from stemma.nn import build
from stemma.objectives import CausalLM, MaskedLM, NextSentence, PrefixLM
from stemma.objectives.catalogue import OBJECTIVES
from stemma.training import Learner, Saving, train

from .small import Kept, learner, lessons, plan, usual

# A teacher is a model of real size; the short checks run those with a companion, with two stacks and with neither.
SHORT = ("causal", "rtd", "t5")
# What compares the rows of a batch with one another compares fewer in a part of it: `chunk` is its way to less memory.
TOGETHER = ("neighbours",)
NAMES = [
    pytest.param(name, marks=[] if name in SHORT else pytest.mark.slow) for name in OBJECTIVES if name != "distill"
]


def run(one: Learner, folder: Path | None = None, **changes: object) -> dict[int, float]:
    kept = Kept()
    train(one, plan(**dict(steps=4, rows=4) | changes), folder=folder, trackers=[kept])
    return kept.figure()


@pytest.mark.parametrize("name", NAMES)
def test_parts_and_pauses_change_nothing(name: str, tmp_path: Path) -> None:
    whole = run(usual(name))
    assert list(whole) == [1, 2, 3, 4]
    if name not in TOGETHER:
        first = run(usual(name), micro_batches=2)
        assert first[1] == pytest.approx(whole[1], abs=1e-5), "the loss of a step in two parts"
    begun = run(usual(name), tmp_path, steps=2, saving=Saving(every=1))
    resumed = run(usual(name), tmp_path)
    assert begun | resumed == whole


def test_objectives_are_summed_with_their_weights() -> None:
    """Two passes of one network in a step, of which each is what it would be alone."""
    both, kept = learner(0.0, CausalLM(), PrefixLM(weight=0.5)), Kept()
    train(both, plan(steps=1), trackers=[kept])
    alone = [run(learner(0.0, one), steps=1, rows=8)[1] for one in (CausalLM(), PrefixLM())]
    assert kept.lines[1]["loss"] == pytest.approx(alone[0] + 0.5 * alone[1], abs=1e-6)
    assert kept.lines[1]["loss.causal.next"] == pytest.approx(alone[0], abs=1e-6)
    assert kept.lines[1]["loss.prefix.next"] == pytest.approx(alone[1], abs=1e-6)


def test_objectives_that_share_a_pass_are_told_by_term() -> None:
    spec = usual("nsp").spec
    one, kept = Learner(build(spec), lessons(spec, NextSentence(weight=2.0), MaskedLM())), Kept()
    train(one, plan(steps=1), trackers=[kept])
    told = kept.lines[1]
    assert len(one.lessons) == 1
    assert told["loss"] == pytest.approx(2.0 * told["loss.sentence"] + told["loss.masked"], abs=1e-6)


def test_what_is_lacking_is_told_before_anything_is_made() -> None:
    spec = usual("causal").spec
    with pytest.raises(InputError) as caught:
        Learner(build(spec, seed=None, device="meta"), lessons(spec, MaskedLM(), NextSentence()))
    assert len(caught.value.faults) > 1
