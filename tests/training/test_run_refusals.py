"""Every way in which a run cannot begin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stemma.data import Files
from stemma.errors import InputError, SourceError, SpecError, StemmaError, TokenizerError
from stemma.objectives import MaskedLM, TranslationLM
from stemma.training import Network, NewTokenizer

from .tiny_run import SMALL, tiny_run, vocabulary


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"model": Network("gpt2", None, {**SMALL, "n_heads": 3})}, SpecError, ["n_heads=3 must divide"]),
        ({"length": 4000}, InputError, ["length=4000 exceeds the network's 1024 positions"]),
        (
            {"model": Network("gpt2", None, {**SMALL, "vocab_size": 9}), "length": 4000},
            InputError,
            ["vocab_size=9 must hold the tokenizer's", "length=4000 exceeds"],
        ),
        ({"objectives": [TranslationLM()]}, InputError, ["hold no pairs, which tlm reads"]),
        ({"objectives": [MaskedLM(rate=1.5)]}, InputError, ["mask", "rate=1.5"]),
        ({"tokenizer": NewTokenizer(size=5)}, TokenizerError, ["vocab_size=5 must be at least"]),
        ({"tokenizer": NewTokenizer(size=420, special={"king": "<k>"})}, TokenizerError, ["'king' is no role"]),
        ({"tokenizer": "no-such-tokenizer"}, SourceError, ["no-such-tokenizer"]),
        ({"model": "no-such-model"}, SourceError, ["no-such-model"]),
        ({"corpus": "nowhere/*.txt"}, InputError, ["corpus.0.paths='nowhere/*.txt' matches no file"]),
        (
            {"corpus": [Files(paths=("nowhere",)), Files(paths=("pydoc",), languages=("a", "b"))]},
            InputError,
            ["corpus.0.paths='nowhere'", "corpus.1.languages"],
        ),
        ({"trackers": ("trackio",)}, InputError, ["trackers: trackio=None", "pip install 'stemma-lm[trackio]'"]),
        ({"ray": "local"}, InputError, ["ray: ray=None is needed", "pip install 'stemma-lm[ray]'"]),
        ({"tensor_parallel": 2}, InputError, ["tensor_parallel"]),
    ],
)
def test_what_a_run_cannot_begin_with_is_told_in_full(
    changes: dict[str, Any],
    error: type[StemmaError],
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in ("ray", "trackio"):
        monkeypatch.setitem(sys.modules, package, None)
    run = tiny_run(tmp_path / "run", **{"tokenizer": vocabulary(), **changes})
    with pytest.raises(error) as raised:
        run.train()
    assert [part for part in told if part not in str(raised.value)] == []
    assert not (tmp_path / "run" / "run.toml").exists()


def test_values_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        tiny_run(tmp_path, length=1, alpha=-1.0, held_out=1.0, steps=0, objectives=[])
    fields = {fault.field for fault in raised.value.faults}
    assert fields >= {"length", "alpha", "held_out", "steps", "objectives"}


def test_no_tokenizer_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds none; name a folder with tokenizer"):
        tiny_run(tmp_path / "run", tokenizer=str(tmp_path)).train()


def test_a_vocabulary_of_a_run_that_never_began_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        tiny_run(tmp_path, length=4000, tokenizer=NewTokenizer(size=300)).train()
    tiny_run(tmp_path, steps=1, tokenizer=NewTokenizer(size=350)).train()
    assert json.loads((tmp_path / "run.json").read_text())["tokenizer"] == "bytebpe, 350 tokens"


@pytest.mark.parametrize("name", ["model", "checkpoints"])
def test_a_folder_of_something_else(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "diary.txt").touch()
    with pytest.raises(InputError, match=f"holds {name} of something else than a run; choose another"):
        tiny_run(tmp_path).train()
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_a_run_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("steps = ")
    with pytest.raises(InputError, match="holds another run"):
        tiny_run(tmp_path).train()
    with pytest.raises(InputError, match="is no TOML"):
        tiny_run(tmp_path).train(resume=True)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StemmaError, match="cannot be written: "):
        tiny_run(tmp_path / "file").train()
