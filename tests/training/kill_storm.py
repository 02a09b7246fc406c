"""Kill a run at random moments, inside saving too, and fill its disk: resumed losses must be those of a run unbroken.

Run as a program of its own: `python tests/training/kill_storm.py --kills 100` prints its counts as a JSON object. Each
run is a fork of this process, which is single-threaded, so that a kill costs no import.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from tests.training.small import learner, lessons, plan, spec

from stemma.errors import CheckpointError
from stemma.training import Evaluation, JsonLines, Saving, read_lines, train

# An epoch ends inside a step, a step has two parts, and every second one is saved.
STEPS, EPOCH, DROPOUT = 24, 52, 0.1
FULL = 3  # exit status of a run whose disk is full


def run(folder: Path) -> None:
    """Train to the end, from wherever the folder's newest checkpoint stands."""
    folder.mkdir(exist_ok=True)
    of = plan(
        steps=STEPS,
        micro_batches=2,
        average=0.9,
        evaluation=Evaluation(every=5),
        saving=Saving(every=2, last=2, milestones=8),
    )
    one = learner(DROPOUT, epoch=EPOCH)
    held_out = lessons(spec(DROPOUT), salt=1)
    train(one, of, folder=folder / "checkpoints", held_out=held_out, trackers=[JsonLines(folder / "run.jsonl")])


def run_on_a_full_disk(folder: Path, n_bytes: int) -> None:
    """The same where no file may grow beyond some size."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    try:
        run(folder)
    except CheckpointError as error:
        os._exit(FULL if "cannot be written" in str(error) else 1)


def fork(what: Callable[[], None]) -> int:
    """The process number of a child that does this."""
    if child := os.fork():
        return child
    try:
        what()
        os._exit(0)
    finally:
        # Whatever went wrong, a child never goes on with its parent's work.
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        os._exit(1)


def wait(folder: Path, draws: random.Random, duration: float) -> None:
    """Until a random moment of a run; every second time it is one while a checkpoint is written."""
    late = time.perf_counter() + draws.uniform(0.0, duration)
    if draws.random() < 0.5:
        time.sleep(late - time.perf_counter())
        return
    while time.perf_counter() < late + duration and not any(folder.glob("checkpoints/.*.partial")):
        time.sleep(0.001)
    time.sleep(draws.uniform(0.0, 0.1))


def status(child: int) -> int:
    """The exit status of a child that has ended; the negative signal where one killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def losses(folder: Path) -> dict[str, dict[int, float]]:
    """Every figure that must not depend on time."""
    kept: dict[str, dict[int, float]] = {}
    for line in read_lines(folder / "run.jsonl"):
        for name in ("loss", "norm", "tokens", "held_out.loss"):
            if name in line:
                kept.setdefault(name, {})[line["step"]] = line[name]
    return kept


def main(kills: int, seed: int) -> dict[str, int]:
    """Kill so often, and count what happened."""
    draws = random.Random(seed)
    counts = dict.fromkeys(("kills", "in_saving", "runs", "full_disks", "losses_compared"), 0)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        began = time.perf_counter()
        assert status(fork(lambda: run(home / "unbroken"))) == 0
        duration = time.perf_counter() - began
        expected = losses(home / "unbroken")
        assert len(expected["loss"]) == STEPS
        while counts["kills"] < kills:
            folder = home / "broken"
            while True:
                child = fork(partial(run, folder))
                if counts["kills"] < kills:
                    wait(folder, draws, duration)
                    os.kill(child, signal.SIGKILL)
                ended = status(child)
                if ended == 0:
                    break
                assert ended == -signal.SIGKILL, ended
                counts["kills"] += 1
                counts["in_saving"] += any(folder.glob("checkpoints/.*.partial"))
            assert losses(folder) == expected, "a resumed loss differs"
            counts["runs"] += 1
            counts["losses_compared"] += sum(map(len, expected.values()))
            shutil.rmtree(folder)
        folder = home / "full"
        shutil.copytree(home / "unbroken", folder)
        saved = sorted(path for path in (folder / "checkpoints").iterdir())
        largest = max(path.stat().st_size for path in folder.rglob("*"))
        for late in saved[1:]:
            shutil.rmtree(late)
        for n_bytes in (largest // 2, largest // 10, 5000):
            before = {path: path.stat().st_mtime_ns for path in saved[0].rglob("*")}
            assert status(fork(partial(run_on_a_full_disk, folder, n_bytes))) == FULL
            assert {path: path.stat().st_mtime_ns for path in saved[0].rglob("*")} == before
            assert list((folder / "checkpoints").iterdir()) == [saved[0]], "what was begun is removed"
            counts["full_disks"] += 1
        assert status(fork(lambda: run(folder))) == 0
        assert losses(folder) == expected, "a loss after a full disk differs"
    return counts


if __name__ == "__main__":
    torch.set_num_threads(1)
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--figures", type=Path, help="append the counts to this file, one JSON line")
    given = options.parse_args()
    counted = main(given.kills, given.seed)
    print(json.dumps(counted))  # noqa: T201
    if given.figures is not None:
        with given.figures.open("a", encoding="utf-8") as figures:
            figures.write(
                json.dumps({"test": "tests/training/kill_storm.py", "figure": "kill storm", **counted}) + "\n"
            )
