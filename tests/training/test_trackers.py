"""Who is told of a run, and that none of them can stop it."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from rich.console import Console

from stemma.errors import InputError
from stemma.training import Board, Evaluation, JsonLines, ProgressLine, Trackers, plot, read_lines, train

from .small import Kept, learner, lessons, plan, spec


class Dead(Kept):
    """A tracker that fails at a call."""

    def __init__(self, at: str) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def __getattribute__(self, name: str) -> object:
        if name == object.__getattribute__(self, "__dict__").get("at"):
            self.calls += 1
            raise ConnectionError("no answer")
        return super().__getattribute__(name)


@pytest.mark.parametrize("at", ["begin", "log", "note", "close"])
def test_a_dead_tracker_stops_nothing_and_is_told_of_once(at: str) -> None:
    dead, kept = Dead(at), Kept()
    assert train(learner(), plan(), trackers=[dead, kept]).ended == "steps"
    assert dead.calls == 1
    assert len(kept.figure()) == 8
    told = [event for _, event in kept.events if "Dead failed and is left out: ConnectionError: no answer" in event]
    assert len(told) == 1


def test_all_may_be_dead() -> None:
    with Trackers([Dead("log"), Dead("log"), Dead("note")]) as told:
        told.begin(0, 1)
        told.log(1, {"loss": 1.0})
        told.log(2, {"loss": 1.0})


def test_a_line_a_step(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    of = plan(steps=7, log_every=2, evaluation=Evaluation(every=3))
    train(learner(), of, trackers=[JsonLines(path)], held_out=lessons(spec(), salt=1))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines if "norm" in line] == [2, 4, 6, 7]
    assert [line["step"] for line in lines if "held_out.loss" in line] == [3, 6, 7]
    assert lines[-1] == {"step": 7, "event": "ended: steps"}
    first = lines[0]
    assert {"loss", "loss.next", "rate", "norm", "tokens", "tokens_per_second", "memory", "waited"} <= set(first)
    assert first["tokens"] == sum(learner().lessons[0].batch([row]).n_tokens for row in range(16))


def test_what_is_done_again_is_told_once(tmp_path: Path) -> None:
    """And a line that a kill cut short is forgotten."""
    path = tmp_path / "run.jsonl"
    path.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n{"step": 3, "lo')
    lines = JsonLines(path)
    lines.begin(1, 9)
    lines.log(2, {"loss": 2.0})
    assert read_lines(path) == [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}]


def test_the_line_on_the_terminal() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=200, force_terminal=True)
    train(learner(), plan(steps=3), trackers=[ProgressLine(console)])
    shown = screen.getvalue()
    for part in ("3/3", "loss 5.", "tokens/s", "of peak", "GiB", "left", "step 3: ended: steps"):
        assert part in shown, part


@pytest.mark.parametrize("package", ["tensorboard", "trackio"])
def test_boards(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told every figure, or the extra is named that installs them."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    make = {"tensorboard": lambda: Board.tensorboard(tmp_path), "trackio": lambda: Board.trackio("p", "run")}[package]
    if find_spec(package) is None:
        with pytest.raises(InputError, match=rf"pip install 'stemma-lm\[{package}\]'"):
            make()
        return
    train(learner(), plan(steps=2), trackers=[make()])
    assert [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_board_is_told_every_figure() -> None:
    points: list[tuple[int, dict[str, float]]] = []
    board = Board(lambda values, step: points.append((step, dict(values))), lambda: points.append((0, {})))
    train(learner(), plan(steps=2), trackers=[board])
    assert [step for step, _ in points] == [1, 2, 2, 0]
    assert points[2][1] == {"events": 1.0}


@pytest.mark.slow
def test_curves(tmp_path: Path) -> None:
    """A picture, or the extra that installs what draws it."""
    for name in ("a", "b"):
        of = plan(steps=3, evaluation=Evaluation(every=1))
        train(learner(), of, trackers=[JsonLines(tmp_path / name)], held_out=lessons(spec(), salt=1))
    runs, picture = {"first": tmp_path / "a", "second": tmp_path / "b"}, tmp_path / "curves.png"
    if find_spec("matplotlib") is None:
        with pytest.raises(InputError, match=r"pip install 'stemma-lm\[plots\]'"):
            plot(runs, picture)
        return
    plot(runs, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="tells of no step"):
        plot({"empty": tmp_path / "empty"}, picture)
