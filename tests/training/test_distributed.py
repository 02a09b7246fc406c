"""Several processes are one: the same losses, whatever their number, and checkpoints that any number reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stemma.errors import InputError
from stemma.training import Muon, Team, TrainPlan, assemble, read_lines, verify

from ..tolerances import FP32
from . import job
from .small import plan

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def start(*runs: dict[str, Any], by: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Do these runs, one after the other."""
    command = [sys.executable, *by, str(job.__file__), json.dumps(runs, default=str)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def losses(folder: Path) -> dict[tuple[int, str], float]:
    names = ("loss", "norm", "tokens", "held_out.loss")
    lines = read_lines(folder / "run.jsonl")
    return {(line["step"], name): line[name] for line in lines for name in names if name in line}


@pytest.mark.slow
def test_any_number_of_processes_equals_one(tmp_path: Path) -> None:
    """Two; two, then one, then four, each from the checkpoint before; two by two that share matrices.

    With dropout, which is drawn for each part of a step whoever reads it; but not where heads are shared.
    """
    runs = [dict(folder=tmp_path / "one", processes=1, micro_batches=4)]
    runs += [dict(folder=tmp_path / "two", processes=2, micro_batches=2)]
    runs += [
        dict(folder=tmp_path / "any", processes=processes, micro_batches=4 // processes, steps=steps)
        for steps, processes in ((2, 2), (4, 1), (6, 4))
    ]
    runs += [dict(folder=tmp_path / "bare", processes=1, micro_batches=2, dropout=0.0)]
    runs += [dict(folder=tmp_path / "shared", processes=4, tensor_parallel=2, dropout=0.0)]
    done = start(*runs)
    assert done.returncode == 0, done.stderr
    found = {folder.name: losses(folder) for folder in tmp_path.iterdir()}
    assert len(found["one"]) == 6 * 3 + 2
    for name in ("two", "any"):
        # Where a run ends it is evaluated too, even if it then goes on.
        assert {key: found[name][key] for key in found["one"]} == pytest.approx(found["one"], abs=FP32), name
    assert found["shared"] == pytest.approx(found["bare"], abs=FP32)
    assert found["bare"] != pytest.approx(found["one"], abs=FP32)


@pytest.mark.slow
def test_networks_of_every_kind_are_spread(tmp_path: Path) -> None:
    """A companion that shares tables; two stacks; layers that share parameters; experts; a recurrent network."""
    kinds = [("rtd", ""), ("t5", ""), ("mlm", "albert"), ("causal", "mixtral"), ("elmo", "")]
    runs = [
        dict(folder=tmp_path / f"{name}{n}", objective=name, family=family, processes=n, micro_batches=2 // n, steps=3)
        for name, family in kinds
        for n in (1, 2)
    ]
    done = start(*runs)
    assert done.returncode == 0, done.stderr
    for name, _ in kinds:
        one = losses(tmp_path / f"{name}1")
        assert len(one) == 3 * 3 + 1
        # ELECTRA's loss is about forty, its weights being 50 and 1.
        assert losses(tmp_path / f"{name}2") == pytest.approx(one, abs=FP32, rel=1e-6), name


@pytest.mark.slow
def test_a_lost_process_ends_the_run(tmp_path: Path) -> None:
    """With an error that says so, and a checkpoint from which one process alone goes on."""
    done = start(dict(folder=tmp_path, steps=40, kill_after=9), by=TORCHRUN)
    assert done.returncode != 0
    assert "RunError: run: process=0 lost another one of its run" in done.stderr
    saved = sorted((tmp_path / "checkpoints").glob("step-*"))
    assert saved
    for path in saved:
        verify(path)
    reached = max(step for step, _ in losses(tmp_path))
    again = start(dict(folder=tmp_path, steps=40, micro_batches=2))
    assert again.returncode == 0, again.stderr
    assert max(step for step, _ in losses(tmp_path)) == 40 > reached


@pytest.mark.parametrize("of", [plan(rows=6), plan(micro_batches=4)])
def test_rows_are_dealt_out_evenly(of: TrainPlan) -> None:
    with pytest.raises(InputError, match="give each process as many"):
        Team(world=4).check(of)


def test_one_process_shares_no_matrices() -> None:
    with pytest.raises(InputError, match="must divide the number of processes, 1"):  # noqa: SIM117
        with assemble(plan(tensor_parallel=2)):
            pytest.fail("nothing is assembled")


def test_an_error_of_ones_own_stays_what_it_is() -> None:
    def fail() -> None:
        with assemble(plan(optimiser=Muon()), "cpu") as team:
            raise RuntimeError(f"mine, of {team.world}")

    with pytest.raises(RuntimeError, match="mine, of 1"):
        fail()
