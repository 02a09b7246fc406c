"""`stemma adapt` and `stemma merge`, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stemma.cli.main import run

from ..tuning.tiny_adapt import checkpoint, labelled, old_text

RUN = """
model = "{model}"
epochs = 1
rows = 8
length = 24
folder = "runs/first"

[task]
name = "classification"

[learnt]
paths = ["{learnt}"]

[tried]
paths = ["{tried}"]

[old]
paths = ["{old}"]
split = "paragraph"

[[adaptations]]
kind = "lora"
rank = 2

[optimiser]
lr = 1e-2
"""
Call = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run file, to work in."""
    files = {"learnt": labelled().paths[0], "tried": labelled("tried", 24).paths[0], "old": old_text()}
    (tmp_path / "run.toml").write_text(RUN.format(model=checkpoint("gpt2"), **files), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], place: Path) -> Call:
    """Run a command, which must succeed; gives what it printed."""

    def called(*arguments: str) -> str:
        capsys.readouterr()
        assert run(arguments) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return called


def test_the_json_has_the_parts_that_programs_read(call: Call, place: Path) -> None:
    told = json.loads(call("adapt", "run.toml", "--set", "adaptations.0.rank=3", "--json"))
    assert told.keys() == {"runs", "table"}
    (one,) = told["runs"]
    assert one.keys() >= {
        "folder",
        "model",
        "task",
        "adaptations",
        "seed",
        "ended",
        "steps",
        "trained",
        "total",
        "scores",
    }
    assert (one["folder"], one["task"], one["adaptations"], one["ended"]) == (
        "runs/first",
        "classification",
        ["lora"],
        "steps",
    )
    assert one["forgetting"].keys() == {"objective", "before", "after"}
    assert told["table"]["measure"] == "tried.accuracy"
    assert told["table"]["deviation"] is None
    assert json.loads((place / "runs/first/run.json").read_text())["scores"] == one["scores"]
    assert "rank = 3" in (place / "runs/first/run.toml").read_text()


def test_what_is_told_before_and_after(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["adapt", "run.toml"]) == 0
    printed = capsys.readouterr()
    before = ("adapted", "full", "trained parameters", "optimiser, MB", "memory, MB", "GFLOPs a step")
    assert [word for word in before if word not in printed.err] == []
    after = ("runs/first", "accuracy", "causal before", "causal after", "trained of total")
    assert [word for word in after if word not in printed.out] == []


@pytest.mark.slow
def test_seeds_replay_and_a_plot(call: Call, place: Path) -> None:
    asked = ("adapt", "run.toml", "--seeds", "0,1", "--replay", "0.5", "--plot", "runs.png", "--json")
    told = json.loads(call(*asked))
    assert [one["folder"] for one in told["runs"]] == ["runs/first/seed-0", "runs/first/seed-1"]
    low, high = told["table"]["interval"]
    assert low <= told["table"]["mean"] <= high
    assert told["table"]["values"].keys() == {"0", "1"}
    assert (place / "runs.png").read_bytes().startswith(b"\x89PNG")
    assert "replay = 0.5" in (place / "runs/first/seed-1/run.toml").read_text()


@pytest.mark.slow
def test_another_run_is_refused_gone_on_with_and_merged(
    call: Call, capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    call("adapt", "run.toml")
    assert run(["adapt", "run.toml", "--set", "epochs=2"]) == 2
    assert "go on with it: stemma adapt --resume runs/first" in capsys.readouterr().err
    (one,) = json.loads(call("adapt", "--resume", "runs/first", "--set", "epochs=2", "--json"))["runs"]
    assert one["steps"] == 12
    assert json.loads(call("merge", "runs/first", "--out", "merged", "--json"))["merged"] == ["lora"]
    assert (place / "merged" / "config.json").is_file()
    assert run(["merge", "runs/first", "--out", "merged"]) == 2


BROKEN = {
    "no file": (["adapt"], ["RUN.toml=None must be given, or else --resume"]),
    "two": (
        ["adapt", "run.toml", "--resume", "x", "--seeds", "one", "--device", "tpu"],
        ["--seeds='one' must be whole numbers", "--device='tpu' is unknown", "is told by --resume already"],
    ),
    "several": (
        ["adapt", "run.toml", "--set", "rows=x", "--set", "taks.name=a", "--set", "adaptations.0.kind=lorra"],
        ["3 faults", "rows='x'", "taks=", "adaptations.0.kind='lorra' is unknown; use one of"],
    ),
    "share": (["adapt", "run.toml", "--replay", "7"], ["replay=7.0 must lie in [0, 1]"]),
    "labels": (["adapt", "run.toml", "--set", "tried.labels={good='fine'}"], ["label='fine' is not among the labels"]),
    "no run": (["merge", "runs", "--out", "merged"], ["runs"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_done_is_told(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, told = BROKEN[name]
    assert run(arguments) == 2
    printed = capsys.readouterr().err
    assert [part for part in told if part not in " ".join(printed.split())] == []
    assert {path.name for path in place.iterdir()} == {"run.toml"}
