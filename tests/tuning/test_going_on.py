"""A tuning run that ends and goes on is the run that never ended, however many processes carry it out."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stemma.adaptation import Adaptation, Features, Full, GradualUnfreezing, LoRA
from stemma.adaptation.prompts import PromptTuning
from stemma.errors import StemmaError
from stemma.training import Saving
from stemma.training.codec import encode
from stemma.training.toml import write_toml
from stemma.tuning import Adapt

from ..tolerances import FP32
from ..training.small import Ends
from .tiny_adapt import figures, tensors, tiny_adapt

WAYS: dict[str, tuple[Adaptation, ...]] = {
    "full": (Full(),),
    "lora": (LoRA(rank=2, dropout=0.1),),
    "mix": (Features(layers=2, how="mix"),),
    "both": (PromptTuning(n_virtual=2), GradualUnfreezing()),
}


def wanted(folder: Path, **changes: Any) -> Adapt:
    return tiny_adapt(folder, "gpt2", **dict(replay=0.25, saving=Saving(every=4)) | changes)


def alike(first: Path, second: Path) -> bool:
    """Whether two runs told the same and wrote the same, bit for bit."""
    one, two = tensors(first), tensors(second)
    return (
        figures(first) == figures(second)
        and one.keys() == two.keys()
        and all(map(torch.equal, one.values(), two.values()))
    )


@pytest.mark.parametrize("way", ["lora", *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS if way != "lora")])
def test_an_interrupted_run_goes_on_bit_for_bit(way: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = dict(adaptations=WAYS[way], replay=0.0 if way == "mix" else 0.25)
    whole = wanted(tmp_path / "whole", **changes).train()
    run = wanted(tmp_path / "parts", **changes)
    ended = run.train([Ends(5, signal.SIGINT)])
    assert (ended.ended, 5 <= ended.steps < 12) == ("interrupted", True)
    assert {path.name for path in (tmp_path / "parts").iterdir()} <= {"run.toml", "run.jsonl", "checkpoints"}
    resumed = run.train()
    assert alike(tmp_path / "parts", tmp_path / "whole")
    assert (resumed.scores, resumed.forgetting) == (whole.scores, whole.forgetting)


class Fails(Ends):
    """A tracker of which a defect of the program takes hold."""

    def log(self, step: int, values: Any) -> None:
        if step == self.after:
            raise KeyboardInterrupt
        super().log(step, values)


def test_a_run_that_broke_off_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    wanted(tmp_path / "whole").train()
    run = wanted(tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        run.train([Fails(7)])
    run.train()
    # What was told of steps after the checkpoint is told again.
    first, second = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    assert all(torch.equal(first[name], second[name]) for name in {**first, **second})


def test_a_run_that_is_over_is_not_run_again(tmp_path: Path) -> None:
    run = wanted(tmp_path, steps=3, adaptations=WAYS["lora"])
    first, lines = run.train(), (tmp_path / "run.jsonl").read_text().count('"loss"')
    again = run.train()
    assert (again.scores, again.forgetting, again.steps) == (first.scores, first.forgetting, 3)
    assert (tmp_path / "run.jsonl").read_text().count('"loss"') == lines
    assert replace(run, steps=5).train(resume=True).steps == 5


def command(run: Adapt, place: Path, *by: str) -> tuple[list[str], dict[str, str]]:
    """What carries a run out in a process of its own."""
    table = encode(run)
    del table["kind"]
    place.mkdir(exist_ok=True)
    (place / "asked.toml").write_text(write_toml(table))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    stemma = str(Path(sys.executable).with_name("stemma"))
    return [*by, stemma, "adapt", str(place / "asked.toml"), "--device", "cpu", "--json"], environment


def started(run: Adapt, place: Path) -> subprocess.Popen[bytes]:
    line, environment = command(run, place)
    return subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_run_that_is_told_to_end_and_one_that_is_killed(tmp_path: Path) -> None:
    whole = wanted(tmp_path / "whole", epochs=4.0, saving=Saving(every=2))
    whole.train()
    run, draws = replace(whole, folder=tmp_path / "parts"), random.Random(0)
    for sent, status in ((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        process, lines = started(run, tmp_path / "asked"), tmp_path / "parts" / "run.jsonl"
        before, late = lines.stat().st_size if lines.exists() else 0, time.monotonic() + 120
        while process.poll() is None and time.monotonic() < late:
            if lines.exists() and lines.stat().st_size > before + draws.randrange(400, 900):
                break
            time.sleep(0.002)
        process.send_signal(sent)
        assert process.wait(120) == status
    run.train()
    first, second = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    changes: dict[str, Any] = dict(adaptations=WAYS["lora"], rows=8)
    one = wanted(tmp_path / "one", micro_batches=2, **changes).train()
    by = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")
    line, environment = command(wanted(tmp_path / "two", **changes), tmp_path / "asked", *by)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)["runs"][0]
    assert two["scores"]["tried"] == pytest.approx(one.scores["tried"], abs=FP32)
    for first, second in zip(figures(tmp_path / "one"), figures(tmp_path / "two"), strict=True):
        assert first == pytest.approx(second, abs=FP32)
    first_tensors, second_tensors = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert first_tensors.keys() == second_tensors.keys()
    assert all((first_tensors[name] - second_tensors[name]).abs().max() < FP32 for name in first_tensors)


def test_settings_that_cannot_change(tmp_path: Path) -> None:
    run = wanted(tmp_path, steps=3)
    run.train()
    before = (tmp_path / "run.toml").read_text()
    for changes in ({"rows": 16}, {"seed": 1}, {"adaptations": WAYS["lora"]}):
        with pytest.raises(StemmaError):
            replace(run, **changes).train()  # type: ignore[arg-type]
        with pytest.raises(StemmaError):
            replace(run, **changes).train(resume=True)  # type: ignore[arg-type]
        assert (tmp_path / "run.toml").read_text() == before
