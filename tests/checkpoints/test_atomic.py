"""A folder appears whole or not at all, whatever goes wrong and wherever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch

from stemma.checkpoints import Stored, atomic, hf, read_folder, weights, write_folder
from stemma.checkpoints.atomic import new_folder
from stemma.errors import CheckpointError
from stemma.families import GPT2
from stemma.nn import Model


@pytest.fixture(scope="module")
def stored() -> Stored:
    return Stored(GPT2, Model(GPT2.build(n_layers=2, d_model=8, n_heads=2, vocab_size=11)))


def test_a_folder_that_stands_is_kept_unless_asked(stored: Stored, tmp_path: Path) -> None:
    write_folder(stored, tmp_path / "a")
    (tmp_path / "a" / "mine").touch()
    with pytest.raises(CheckpointError, match="exists already"):
        write_folder(stored, tmp_path / "a")
    assert (tmp_path / "a" / "mine").exists()
    write_folder(stored, tmp_path / "a", overwrite=True)
    assert not (tmp_path / "a" / "mine").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    read_folder(tmp_path / "a")


def test_nothing_but_a_model_is_ever_replaced(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    for name in ("a", "file"):
        with pytest.raises(CheckpointError, match="holds something else than a model"):
            write_folder(stored, tmp_path / name, overwrite=True)
    (tmp_path / "a" / "thesis.tex").unlink()
    write_folder(stored, tmp_path / "a", overwrite=True)


FAILURES = {
    "while a shard is written": (weights, "save_file", 2),
    "before the weights are named": (Path, "rename", 1),
    "between the shards' names": (Path, "rename", 3),
    "while the configuration is written": (Path, "write_text", 2),
    "while files are brought to the disk": (os, "fsync", 2),
    "when the folder is to take its place": (Path, "rename", 7),
}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("where", FAILURES)
@pytest.mark.parametrize("standing", [False, True])
def test_a_failure_leaves_nothing_new_and_nothing_less(
    where: str, error: BaseException, standing: bool, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if standing:
        write_folder(stored, tmp_path / "a")
        (tmp_path / "a" / "old").touch()
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    holder, name, calls = FAILURES[where]
    real, count = getattr(holder, name), 0

    def fail(*arguments: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count == calls:
            raise error
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(holder, name, fail)
        expected = CheckpointError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected):
            write_folder(stored, tmp_path / "a", overwrite=standing, shard_bytes=2000)
    assert count >= calls
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_full_disk_in_the_library_is_our_error(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise safetensors.SafetensorError("Error while serializing: IoError")

    monkeypatch.setattr(weights, "save_file", fail)
    with pytest.raises(CheckpointError, match="cannot be written: Error while serializing"):
        write_folder(stored, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_failing_companion_leaves_nothing(stored: Stored, tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "tokenizer.json").touch()
        raise LookupError

    with pytest.raises(LookupError):
        write_folder(stored, tmp_path / "a", beside=fail)
    assert not list(tmp_path.iterdir())


def test_a_killed_writer_leaves_no_folder_of_the_name(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom stemma.checkpoints.atomic import new_folder\n"
        "with new_folder(Path(sys.argv[1])) as partial:\n"
        "    (partial / 'half').write_text('x')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    with new_folder(tmp_path / "a") as partial:
        (partial / "whole").touch()
    assert (tmp_path / "a" / "whole").exists()


def test_where_nothing_can_be_made_is_our_error(stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_folder(stored, tmp_path / "file" / "a")
    assert hf.new_folder is atomic.new_folder
