"""A run that ends and goes on is the run that never ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stemma.errors import CheckpointError
from stemma.training import AdamW, Checkpoints, Evaluation, Muon, Outcome, Saving, TrainPlan, train

from . import kill_storm
from .small import Ends, Kept, learner, lessons, plan, spec

# `test_every_objective` has a pause that `make check` sees.
pytestmark = pytest.mark.slow

STEPS = 10
# Rows of an epoch that ends inside a step.
EPOCH = 28


def settings(**changes: Any) -> TrainPlan:
    usual = dict(steps=STEPS, micro_batches=2, saving=Saving(every=4), evaluation=Evaluation(every=3), average=0.9)
    return plan(**usual | changes)


def go(of: TrainPlan, folder: Path | None, kept: Kept) -> Outcome:
    """A run with dropout."""
    return train(learner(0.1, epoch=EPOCH), of, folder=folder, held_out=lessons(spec(0.1), salt=1), trackers=[kept])


@pytest.mark.parametrize(
    "changes", [{}, {"optimiser": Muon(lr=1e-2)}, {"optimiser": AdamW(lr=1e-2, fused=False)}], ids=["", "muon", "plain"]
)
def test_a_signal_ends_a_run_that_resumes_bit_for_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    whole, first, second = Kept(), Ends(5), Kept()
    go(settings(**changes), None, whole)
    ended = go(settings(**changes), tmp_path, first)
    assert ended.ended == "interrupted"
    stopped = ended.progress.step
    assert stopped in (5, 6), "the step under way is finished"
    assert ended.newest == tmp_path / f"step-{stopped:09}"
    assert go(settings(**changes), tmp_path, second).ended == "steps"
    assert min(second.lines) == stopped + 1
    for name in ("loss", "norm", "rate", "tokens", "held_out.loss"):
        assert first.figure(name) | second.figure(name) == whole.figure(name), name


def test_killed_at_random_and_on_a_full_disk() -> None:
    """The short form of a storm of kills: `kill_storm.py` by itself is the long one."""
    command = [sys.executable, kill_storm.__file__, "--kills", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["kills"] == 4
    assert counts["full_disks"] == 3


def test_a_run_that_is_over_stays_over(tmp_path: Path) -> None:
    first, second = go(settings(), tmp_path, Kept()), Kept()
    assert go(settings(), tmp_path, second) == first
    assert second.lines == {}


@pytest.mark.parametrize("changes", [{"rows": 16}, {"seed": 1}, {"optimiser": Muon()}])
def test_another_run_is_not_gone_on_with(changes: dict[str, Any], tmp_path: Path) -> None:
    go(settings(), tmp_path, Kept())
    with pytest.raises(CheckpointError, match="when the run began"):
        go(settings(**changes), tmp_path, Kept())


def test_other_tensors_are_not_read(tmp_path: Path) -> None:
    go(settings(), tmp_path, Kept())
    with pytest.raises(CheckpointError, match="has no place in this run; resume with the settings it began with"):
        go(settings(average=None), tmp_path, Kept())


def test_another_network_is_not_read(tmp_path: Path) -> None:
    go(settings(), tmp_path, Kept())
    with pytest.raises(CheckpointError, match="resume with the network it began with"):
        train(learner(d_ff=40), settings(), folder=tmp_path)


def test_what_is_kept(tmp_path: Path) -> None:
    """The newest, the best and milestones."""
    of = settings(steps=16, saving=Saving(every=1, last=2, milestones=5), evaluation=Evaluation(every=2))
    kept = Kept()
    outcome = go(of, tmp_path, kept)
    scores = kept.figure("held_out.loss")
    best = min(scores, key=lambda step: scores[step])
    assert outcome.progress.best == scores[best]
    assert outcome.best == tmp_path / f"step-{best:09}"
    steps = [int(path.name.removeprefix("step-")) for path in Checkpoints(tmp_path, of).all()]
    assert steps == sorted({5, 10, 15, 16, best})


def test_patience_ends_a_run(tmp_path: Path) -> None:
    """A rate so high that nothing gets better."""
    of = settings(steps=40, optimiser=AdamW(lr=3.0), evaluation=Evaluation(every=1, patience=3), average=None)
    kept = Kept()
    outcome = go(of, tmp_path, kept)
    assert outcome.ended == "patience"
    scores = list(kept.figure("held_out.loss").values())
    assert min(scores) == scores[-4]
    assert outcome.newest == tmp_path / f"step-{outcome.progress.step:09}"
