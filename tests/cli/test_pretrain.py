"""`stemma pretrain` and `stemma runs`, as a user types them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stemma.cli.main import run

RUN = """
steps = 12
rows = 4
length = 32
log_every = 1
folder = "runs/first"

[model]
family = "gpt2"
n_layers = 1
d_model = 16
n_heads = 2
dropout = {residual = 0.1}

[tokenizer]
size = 400

[[corpus]]
paths = ["topics.txt"]
split = "paragraph"

[[objectives]]
name = "causal"

[optimiser]
lr = 1e-2

[evaluation]
every = 4
batches = 2

[saving]
every = 5
"""
Call = Callable[..., str]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the run file has been carried out once; only to be copied."""
    from pydoc_data.topics import topics

    folder = tmp_path_factory.mktemp("pretrain")
    (folder / "topics.txt").write_text("\n\n".join(topics[name] for name in sorted(topics)[:10]))
    (folder / "run.toml").write_text(RUN)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert run(["pretrain", "run.toml", "--json"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def place(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to work in."""
    place = Path(shutil.copytree(begun, tmp_path / "place"))
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], place: Path) -> Call:
    """Run a command, which must succeed; gives what it printed."""

    def called(*arguments: str) -> str:
        capsys.readouterr()
        assert run(arguments) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return called


def figures(folder: Path) -> list[dict[str, Any]]:
    """What does not depend on the clock, in the order of the steps."""
    names = ("step", "loss", "norm", "rate", "tokens", "held_out.loss")
    lines = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in names if name in line} for line in lines if "event" not in line]


def test_the_json_has_the_parts_that_programs_read(call: Call) -> None:
    (one,) = json.loads(call("runs", "runs/first", "--json"))
    assert one.keys() == {
        *("folder", "family", "objectives", "parameters", "steps", "tokens", "tokens_per_second", "utilisation"),
        *("ended", "losses", "baselines"),
    }
    assert (one["folder"], one["family"], one["objectives"], one["ended"]) == (
        "runs/first",
        "gpt2",
        ["causal"],
        "steps",
    )
    assert (one["steps"], one["tokens"]) == (12, 12 * 4 * 32)
    assert one["baselines"]["next"].keys() == {"targets", "unigram", "bigram"}


@pytest.mark.slow
def test_several_runs_side_by_side(call: Call, place: Path) -> None:
    call("pretrain", "run.toml", "--folder", "runs/second", "--set", "optimiser.lr=1e-3", "--set", "steps=3")
    shown = call("runs", "runs/first", "runs/second", "--plot", "runs.png")
    assert (place / "runs.png").read_bytes().startswith(b"\x89PNG")
    first, second = json.loads(call("runs", "runs/first", "runs/second", "--json"))
    for one in (first, second):
        loss = f"{one['losses']['loss.next']:.4f}"
        baseline = one["baselines"]["next"]
        row = next(line for line in shown.splitlines() if one["folder"] in line and loss in line)
        assert row.split() == [one["folder"], "next", loss, f"{baseline['unigram']:.4f}", f"{baseline['bigram']:.4f}"]
    assert "lr = 0.001" in (place / "runs/second/run.toml").read_text()


def test_the_same_file_goes_on_and_another_is_refused(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert "12" in call("pretrain", "run.toml")
    assert run(["pretrain", "run.toml", "--set", "steps=13"]) == 2
    assert "go on with it: stemma pretrain --resume runs/first" in capsys.readouterr().err
    (one,) = json.loads(call("pretrain", "--resume", "runs/first", "--set", "steps=13", "--json"))
    assert one["steps"] == 13


def test_a_guard_that_stops_a_run_ends_in_status_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--set", "optimiser.lr=1e38", "--set", "guards.broken=stop", "--set", "schedule.kind=Constant"]
    assert run(["pretrain", "run.toml", "--folder", "runs/wild", *settings]) == 1
    printed = capsys.readouterr()
    assert "stopped by a guard after step 2; see runs/wild/run.jsonl" in printed.err
    assert "stopped" in printed.out


BROKEN = {
    "no file": (["pretrain"], ["RUN.toml=None must be given, or else --resume"]),
    "a file and a folder": (
        ["pretrain", "run.toml", "--resume", "runs/first", "--folder", "x", "--device", "tpu"],
        ["RUN.toml='run.toml'", "--folder='x' is told by --resume already", "--device='tpu' is unknown"],
    ),
    "absent": (["pretrain", "nowhere.toml"], ["file='nowhere.toml' cannot be read: No such file"]),
    "no TOML": (["pretrain", "topics.txt"], ["file='topics.txt' is no TOML"]),
    "several keys": (
        ["pretrain", "run.toml", "--set", "rows=x", "--set", "modle.size=3", "--set", "seed"],
        ["run.toml: 3 faults", "rows='x'", "modle=", "--set='seed' gives no value"],
    ),
    "a corpus that is not there": (
        ["pretrain", "run.toml", "--folder", "new", "--set", "corpus.0.paths=['no.txt']"],
        ["corpus.0.paths='no.txt' matches no file"],
    ),
    "no Ray": (["pretrain", "run.toml", "--folder", "new", "--ray", "auto"], ["pip install 'stemma-lm[ray]'"]),
    "resume nothing": (["pretrain", "--resume", "runs"], ["file='runs/run.toml' cannot be read"]),
    "another vocabulary": (
        ["pretrain", "--resume", "runs/first", "--set", "tokenizer.size=300"],
        ["tokenizer={'size': 300", "when the run began"],
    ),
    "runs of nothing": (["runs", "runs", "nowhere"], ["2 faults", "folder='runs' holds no run", "folder='nowhere'"]),
    "an existing picture": (["runs", "runs/first", "--plot", "topics.txt"], ["--plot='topics.txt' exists already"]),
    "no run at all": (["runs"], ["Missing argument"]),
}


@pytest.mark.parametrize(("arguments", "named"), BROKEN.values(), ids=BROKEN)
def test_a_broken_command_line_ends_in_one_clear_error(
    arguments: list[str],
    named: list[str],
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    before = (place / "runs/first/run.toml").read_text()
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("error: ") == 1
    assert [part for part in named if part not in printed.err] == []
    assert (place / "runs/first/run.toml").read_text() == before
    assert not (place / "new" / "run.toml").exists()


def test_a_plot_without_matplotlib(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(["runs", "runs/first", "--plot", "runs.png"]) == 2
    assert "plot: matplotlib=None is needed to draw curves; install it: pip install" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_and_resume_equal_the_run_that_was_not_broken(place: Path) -> None:
    """The process that is broken off is one of its own, as in a shell."""
    stemma, settings = Path(sys.executable).with_name("stemma"), ["--set", "steps=150", "--set", "saving.every=1000"]
    assert run(["pretrain", "run.toml", "--folder", "whole", *settings]) == 0
    running = subprocess.Popen(
        [stemma, "pretrain", "run.toml", "--folder", "parts", *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = place / "parts" / "run.jsonl"
    deadline = time.monotonic() + 240
    while not (lines.is_file() and len(lines.read_text().splitlines()) >= 20):
        assert time.monotonic() < deadline
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    printed, told = running.communicate(timeout=240)
    assert running.returncode == 130, told
    assert printed == ""
    assert "; go on with: stemma pretrain --resume parts" in told
    assert 20 <= len(figures(place / "parts")) < len(figures(place / "whole"))
    assert run(["pretrain", "--resume", "parts"]) == 0
    assert figures(place / "parts") == figures(place / "whole")
    first, second = ((place / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert first == second


@pytest.mark.slow
def test_two_processes_are_one(place: Path) -> None:
    """Under torchrun, from the tokenizer to the model's folder."""
    stemma = Path(sys.executable).with_name("stemma")
    settings = ["--set", "steps=6", "--set", "model.dropout={residual=0.0}"]
    assert run(["pretrain", "run.toml", "--folder", "one", *settings]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    command = [*torchrun, stemma, "pretrain", "run.toml", "--folder", "two", *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("causal") == 1
    first, second = figures(place / "one"), figures(place / "two")
    assert [line["step"] for line in first] == [line["step"] for line in second]
    for one, two in zip(first, second, strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    assert json.loads((place / "two" / "run.json").read_text())["processes"] == 2
