"""`stemma quantize`, `stemma bench` and --quantize."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import stemma
from stemma.cli.main import run

from ..small_models import TEXTS, small_model

HELD_OUT = "\n\n".join(TEXTS * 3)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models")
    for name in ("gpt2", "bert"):
        small_model(name).save(place / name)
    (place / "text.txt").write_text(HELD_OUT, encoding="utf-8")
    return place


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    assert run([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run([*map(str, words)]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(("to", "head"), [("int8", "int8"), ("int4", "int4")])
def test_quantize_measures_what_it_changes(
    to: str, head: str, models: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = models / "text.txt"
    out = tmp_path / "small"
    found = printed(capsys, "quantize", models / "gpt2", out, "--to", to, "--head", head, "--text", text)
    assert found["bytes"]["after"] < found["bytes"]["before"] / (2.5 if to == "int8" else 3)
    assert 0 < found["weight_error"] < (0.02 if to == "int8" else 0.2)
    again = stemma.load(out)
    assert again.quantised is not None
    assert again.quantised.matrices["embeddings.token.weight"].bits == int(head[3:])
    assert found["perplexity"]["before"] != found["perplexity"]["after"]
    assert run(["quantize", str(models / "gpt2"), str(tmp_path / "table"), "--text", str(text)]) == 0
    assert "perplexity" in capsys.readouterr().out


def test_quantize_measures_an_encoder_by_its_vectors(
    models: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = printed(
        capsys, "quantize", models / "bert", tmp_path / "small", "--to", "int8", "--text", models / "text.txt"
    )
    assert 0.99 < found["cosine"]["least"] <= found["cosine"]["mean"] <= 1.0001
    assert "perplexity" not in found


def test_quantize_refuses(models: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "exists already" in refused(capsys, "quantize", models / "gpt2", models)
    (tmp_path / "empty.txt").write_text("\n")
    told = refused(capsys, "quantize", models / "gpt2", tmp_path / "a", "--text", tmp_path / "empty.txt")
    assert "--text" in told
    assert not (tmp_path / "a").exists()
    stemma.load(models / "gpt2", quantize="int8").save(tmp_path / "small")
    assert "is quantised already" in refused(capsys, "quantize", tmp_path / "small", tmp_path / "b")


def test_bench_measures_every_setting(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "bench", models / "gpt2", "--prompt", 8, "--max-new-tokens", 4)
    assert [(one["dtype"], one["quantize"]) for one in found["settings"]] == [
        ("float32", "none"), ("bfloat16", "none"), ("bfloat16", "int8"), ("bfloat16", "int4"),
    ]  # fmt: skip
    assert all(one["reading"] > 0 < one["writing"] for one in found["settings"])
    sizes = [one["weight_bytes"] for one in found["settings"]]
    assert sizes[0] == 2 * sizes[1]
    assert found["best"] in [{name: one[name] for name in ("dtype", "quantize")} for one in found["settings"]]
    assert run(["bench", str(models / "gpt2"), "--prompt", "8", "--max-new-tokens", "4"]) == 0
    assert "best here: --quantize" in capsys.readouterr().out
    assert "does not write" in refused(capsys, "bench", models / "bert")


def test_commands_take_quantize(models: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = "the first of the", "--model", models / "gpt2", "--quantize", "int8", "--dtype", "float32"
    plain = printed(capsys, "generate", *given, "--max-new-tokens", 8)
    ahead = printed(capsys, "generate", *given, "--max-new-tokens", 8, "--speculate", "lookup")
    assert plain == ahead
    assert plain == printed(capsys, "generate", *given, "--max-new-tokens", 8, "--speculate", models / "gpt2")
    assert len(printed(capsys, "next", *given)["tokens"]) == 5
    assert "needs a quantised model" in refused(
        capsys, "generate", "x", "--model", models / "gpt2", "--speculate", "lookup"
    )
    found = printed(capsys, "similarity", "one", "two", "--model", models / "bert", "--quantize", "int8")
    assert -1 <= found["similarity"] <= 1
    vectors = tmp_path / "vectors.npy"
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS))
    embedded = printed(
        capsys, "embed", tmp_path / "lines.txt", "--out", vectors, "--model", models / "bert", "--quantize", "int8"
    )
    assert embedded["texts"] == len(TEXTS)
