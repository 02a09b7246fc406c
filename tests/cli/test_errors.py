"""Broken command lines: one clear error, exit status 2, no traceback, nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stemma.cli.main import run

BROKEN = {
    "no command": (["nxet", "text"], ["No such command 'nxet'"]),
    "no argument": (["next"], ["Missing argument", "TEXT"]),
    "unknown option": (["next", "text", "--tpo", "3"], ["No such option: --tpo"]),
    "a word for a number": (["next", "text", "--top", "many"], ["--top"]),
    "unknown choice": (["next", "text", "--dtype", "int3"], ["--dtype", "float32"]),
    "empty text": (["next", ""], ["TEXT=''"]),
    "blank text": (["generate", " \n"], ["TEXT"]),
    "text that is not Unicode": (["next", "a\udce9"], ["TEXT", "UTF-8"]),
    "numbers below one, all of them": (["next", "text", "--top", "0", "--beams", "-1"], ["--top=0", "--beams=-1"]),
    "steps without beams": (["next", "text", "--steps", "3"], ["--steps=3", "--beams"]),
    "target without tokens": (["next", "text", "--target", ""], ["--target"]),
    "two strategies": (["generate", "text", "--beams", "2", "--seed", "1"], ["--seed=1", "--beams"]),
    "a temperature below zero": (["generate", "text", "--temperature", "-1"], ["temperature"]),
    "unknown model": (["next", "text", "--model", "no-such-model"], ["no-such-model"]),
    "unknown family": (["diff", "bert", "no-such-family"], ["no-such-family", "gpt2"]),
    "unreadable input": (["embed", "missing.txt", "--out", "new.npy"], ["missing.txt"]),
    "input that is not UTF-8": (["embed", "latin1.txt", "--out", "new.npy"], ["latin1.txt", "UTF-8"]),
    "empty input": (["embed", "empty.txt", "--out", "new.npy"], ["empty.txt"]),
    "blank lines": (["embed", "blank.txt", "--out", "new.npy"], ["[2, 4]"]),
    "existing output": (["embed", "texts.txt", "--out", "old.npy"], ["old.npy", "exists"]),
    "output in no folder": (["embed", "texts.txt", "--out", "no/new.npy"], ["no/new.npy"]),
    "existing picture": (["tree", "--svg", "old.npy"], ["old.npy", "exists"]),
    "a name that no file can have": (["tree", "--svg", "x" * 300], ["--svg", "too long"]),
    "existing folder": (["convert", "smollm2", "."], ["exists"]),
    "a file where a folder is written": (["convert", "smollm2", "new.gguf"], ["new.gguf"]),
}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "texts.txt").write_text("one\ntwo\n", encoding="utf-8")
    (tmp_path / "blank.txt").write_text("one\n\nthree\n  \n", encoding="utf-8")
    (tmp_path / "latin1.txt").write_bytes("café".encode("latin-1"))
    for existing in ("empty.txt", "old.npy"):
        (tmp_path / existing).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("arguments", "named"), BROKEN.values(), ids=BROKEN)
def test_a_broken_command_line_ends_in_one_clear_error(
    arguments: list[str], named: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(workplace)
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("error: ") == 1
    assert "Traceback" not in printed.err
    for word in named:
        assert word in printed.err
    assert contents(workplace) == before


def test_the_process_ends_with_the_status() -> None:
    call = [sys.executable, "-c", "from stemma.cli.main import main; main()", "next", "text", "--top", "0"]
    ended = subprocess.run(call, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == "error: stemma next: --top=0 must be at least 1; use --top 1 or more\n"


@pytest.mark.parametrize("arguments", [["tree"], ["tree", "--json"]])
def test_a_reader_that_leaves_is_no_error(arguments: list[str]) -> None:
    """A pipe whose reader closes at once, as in `stemma tree | head -0`."""
    call = [sys.executable, "-c", "from stemma.cli.main import main; main()", *arguments]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
