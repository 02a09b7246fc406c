"""Runs of one process or of several: a JSON list of runs, each an object, one after the other.

`folder` is where a run's files go and `processes` how many there are, which are forked here; without it this process is
the run, or one of those that `torchrun` started. What else an object holds differs from the usual plan.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.training.small import learner, plan, usual

from stemma.data import Row
from stemma.errors import StemmaError
from stemma.training import Evaluation, JsonLines, Lesson, Saving, assemble, train


def dying(lesson: Lesson, last: int) -> Lesson:
    """The same, but who asks for a row beyond the last is killed."""

    def row(number: int) -> Row:
        if number >= last:
            os.kill(os.getpid(), signal.SIGKILL)
        return lesson.row(number)

    return replace(lesson, row=row)


def run(
    folder: Path,
    dropout: float = 0.1,
    objective: str = "",
    family: str = "",
    kill_after: int | None = None,
    **changes: Any,
) -> None:
    """Train, alone or as one of many.

    Args:
        folder: for checkpoints and figures.
        dropout: its rate.
        objective: whose network learns, without dropout; GPT-2's if not given.
        family: of that network, where it is not the one that the objective pretrained.
        kill_after: steps whose rows the second process reads; then it is killed.
        changes: of the plan.
    """
    few: dict[str, Any] = dict(steps=6, average=0.9, evaluation=Evaluation(every=3), saving=Saving(every=2, last=9))
    of, one = plan(**few | changes), usual(objective, family) if objective else learner(dropout)
    held_out = [replace(lesson, row=partial(lesson.row, salt=1)) for lesson in one.lessons]
    if kill_after is not None and os.environ.get("RANK") == "1":
        one.lessons = tuple(dying(lesson, of.rows * kill_after) for lesson in one.lessons)
    folder.mkdir(exist_ok=True)
    with assemble(of, "cpu") as team:
        figures = JsonLines(folder / "run.jsonl")
        train(one, of, folder=folder / "checkpoints", held_out=held_out, trackers=[figures], team=team)


def fork(processes: int, **options: Any) -> None:
    """The same in so many processes, which save the time of importing anew."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    children = []
    for rank in range(processes):
        if child := os.fork():
            children.append(child)
            continue
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        try:
            run(**options)
            os._exit(0)
        finally:
            # Whatever went wrong, a child never goes on with its parent's work.
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            os._exit(1)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        sys.exit(f"a run of {processes} processes failed")


def main(runs: list[dict[str, Any]]) -> None:
    """All of them."""
    for options in runs:
        options["folder"] = Path(options["folder"])
        if "processes" in options:
            fork(**options)
        else:
            run(**options)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except StemmaError as error:
        sys.exit(f"{type(error).__name__}: {error}")
