"""A checkpoint is whole, or told to be damaged."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest
import torch

from stemma.checkpoints import read_folder, write_folder
from stemma.errors import CheckpointError
from stemma.families import GPT2
from stemma.training import Checkpoints, Saving, State, TrainPlan, begin, checkpoint, export, train, verify
from stemma.training.checkpoint import sizes

from .small import Kept, learner, plan


@pytest.fixture
def of() -> TrainPlan:
    return plan(steps=4, saving=Saving(every=2), average=0.5)


@pytest.fixture
def folder(of: TrainPlan, tmp_path: Path) -> Path:
    """Checkpoints of the second and the fourth step."""
    train(learner(), of, folder=tmp_path / "run")
    assert len(list((tmp_path / "run").iterdir())) == 2
    return tmp_path / "run"


def files(of: Path) -> list[str]:
    return sorted(path.name for path in of.iterdir())


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", [flip, lambda path: path.write_bytes(path.read_bytes()[:-7]), Path.unlink])
def test_a_damaged_one_is_set_aside(name: str, harm: object, folder: Path, of: TrainPlan) -> None:
    """The one before it is taken, and that is told."""
    assert callable(harm)
    harm(folder / "step-000000004" / name)
    with pytest.raises(CheckpointError):
        verify(folder / "step-000000004")
    kept = Kept()
    outcome = train(learner(), of, folder=folder, trackers=[kept])
    assert kept.began == 2
    (step, event), *_ = kept.events
    assert step == 2
    assert "step-000000004" in event
    assert "the one before it is taken" in event
    assert files(folder) == ["step-000000002", "step-000000004", "step-000000004.damaged"]
    assert outcome.newest == folder / "step-000000004"
    verify(outcome.newest)


def test_where_all_are_damaged_none_is_taken(folder: Path, of: TrainPlan) -> None:
    for path in folder.iterdir():
        flip(path / "__0_0.distcp")
    with pytest.raises(CheckpointError, match="are damaged, all of them"):
        train(learner(), of, folder=folder)


def test_one_that_cannot_be_written_leaves_the_others(
    folder: Path, of: TrainPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = begin(learner(), of)
    saves = Checkpoints(folder, of)
    saves.restore(state)
    state.progress.step = 5

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "_write_json", full)
    with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
        saves.save(state)
    assert files(folder) == ["step-000000002", "step-000000004"]


def test_what_a_kill_left_is_removed(folder: Path, of: TrainPlan) -> None:
    (folder / ".step-000000006.0123.partial").mkdir()
    Checkpoints(folder, of)
    assert files(folder) == ["step-000000002", "step-000000004"]


def test_all_of_a_run_comes_back(folder: Path, of: TrainPlan) -> None:
    """Bit for bit, optimiser and average too."""
    state = begin(learner(seed=1), of)
    assert Checkpoints(folder, of).restore(state) == []
    assert state.progress.step == 4
    again = State(state.learner, state.optimisers, state.average, state.progress)
    held = {name: value.clone() for name, value in again.tensors().items()}
    assert {name: tuple(value.shape) for name, value in held.items()} == sizes(folder / "step-000000004")
    assert {name.partition(".")[0] for name in held} == {"weights", "optimiser", "average"}
    fresh = begin(learner(), of)
    Checkpoints(folder, of).restore(fresh)
    for name, value in fresh.tensors().items():
        assert torch.equal(value, held[name]), name
    assert held["optimiser.model.decoder.norm.weight:step"] == 4


def test_an_index_that_would_run_code_is_refused(folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, ("touch owned",)

    (folder / "step-000000004" / ".metadata").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="is no part of an index"):
        sizes(folder / "step-000000004")


@pytest.mark.parametrize("averaged", [True, False])
def test_the_network_alone_is_a_folder_that_others_open(averaged: bool, folder: Path, tmp_path: Path) -> None:
    one = learner()
    of = plan(steps=4, saving=Saving(every=2), average=0.5)
    state = begin(one, of)
    Checkpoints(folder, of).restore(state)
    stored = export(folder / "step-000000004", GPT2, one.spec, averaged=averaged)
    assert state.average
    tensors = state.average.tensors if averaged else dict(one.named_parameters())
    for name, value in stored.model.named_parameters():
        assert torch.equal(value, tensors[f"model.{name}"]), name
    write_folder(stored, tmp_path / "model")
    read = read_folder(tmp_path / "model").model
    tokens = torch.arange(9)[None]
    assert torch.equal(read(tokens).logits, stored.model(tokens).logits)
