"""The commands that tell something of texts, over a model that answers at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stemma.cli import tell
from stemma.cli.main import run
from stemma.objectives.tasks import Span
from stemma.prediction import Mention


class Echo:
    """Stands for a loaded model."""

    name = "echo"

    def classify(self, texts: list[str], pairs: list[str] | None = None) -> list[dict[str, float]]:
        return [{f"{text}+{second}": 0.75, "other": 0.25} for text, second in zip(texts, pairs or texts, strict=True)]

    def tag(self, sentences: list[str]) -> list[list[Mention]]:
        return [[Mention("loc", text[:3], 0, 3, 0.5)] for text in sentences]

    def answer(self, question: str, context: str, n_best: int, threshold: float | None) -> list[Span]:
        return [Span(context[:4], 0, 4, 1.5, 0.9), Span("", 0, 0, float(threshold or 0), 0.1)][:n_best]


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tell, "open_model", lambda name, dtype=None, quantize="none": Echo())


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert run([*words, "--model", "echo", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_classify(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = printed(capsys, "classify", "a", "b")
    assert found["texts"][1] == {"texts": ["b"], "classes": {"b+b": 0.75, "other": 0.25}}
    found = printed(capsys, "classify", "a", "b", "--pair")
    assert found["texts"] == [{"texts": ["a", "b"], "classes": {"a+b": 0.75, "other": 0.25}}]
    (tmp_path / "pairs.txt").write_text("a\tb\nc\td\n", encoding="utf-8")
    found = printed(capsys, "classify", "--file", str(tmp_path / "pairs.txt"), "--pair")
    assert [one["texts"] for one in found["texts"]] == [["a", "b"], ["c", "d"]]


def test_tag(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "tag", "Rome is old")
    assert found["texts"][0]["mentions"] == [{"type": "loc", "text": "Rom", "start": 0, "end": 3, "score": 0.5}]


def test_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = printed(capsys, "answer", "who?", "--context", "Blue won", "--n-best", "2", "--threshold", "2.5")
    assert [one["text"] for one in found["answers"]] == ["Blue", ""]
    assert found["answers"][1]["score"] == 2.5
    (tmp_path / "report.txt").write_text("Grey lost", encoding="utf-8")
    assert printed(capsys, "answer", "who?", "--file", str(tmp_path / "report.txt"))["answers"][0]["text"] == "Grey"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["classify", "a text"], ["a text", "75.00%"]),
        (["tag", "Rome is old"], ["Rom", "loc", "50.00%"]),
        (["answer", "who?", "--context", "Blue won", "--n-best", "2"], ["Blue", "no answer", "90.00%"]),
    ],
    ids=["classify", "tag", "answer"],
)
def test_tables(words: list[str], shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--model", "echo"]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in shown)


@pytest.mark.parametrize(
    ("words", "content", "told"),
    [
        (["classify"], None, "must be given, or --file"),
        (["classify", "a", "--pair"], None, "must come in twos"),
        (["classify", "a", " "], None, "must hold more than white space"),
        (["classify", "--pair", "--file", "FILE"], "a\tb\nc\n", "line=[2] must hold two texts"),
        (["tag", "--file", "FILE"], "a\n\nb\n", "line=[2] holds no text"),
        (["tag", "--file", "FILE"], "", "is empty"),
        (["tag", "--file", "nowhere.txt"], None, "cannot be read"),
        (["answer", "who?"], None, "or --file must be given"),
        (["answer", " ", "--context", "", "--n-best", "0"], None, "3 faults"),
    ],
)
def test_faults(
    words: list[str], content: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.txt"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    assert run([*(str(file) if word == "FILE" else word for word in words), "--model", "echo"]) == 2
    assert told in capsys.readouterr().err
