"""`stemma tokenizer`: vocabularies from text, tried on text that they have not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stemma.cli.main import run
from stemma.text import fit, read_tokenizer

ENGLISH = [f"The number {number} is a small one." for number in range(40)]
FRENCH = [f"Le nombre {number} est petit, déjà." for number in range(20)]
Call = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.en").write_text("\n".join(ENGLISH[:30]))
    (tmp_path / "b.en").write_text("\n".join(ENGLISH[30:]))
    (tmp_path / "all.fr").write_text("\n".join(FRENCH), encoding="utf-8")
    (tmp_path / "one.txt").write_text("one line")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in ENGLISH))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], place: Path) -> Call:
    """Run a command, which must succeed; gives its JSON."""

    def called(*arguments: str) -> Any:
        assert run(["tokenizer", *arguments, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return called


@pytest.mark.parametrize("kind", ["bytebpe", "bpe", "wordpiece", "unigram"])
def test_a_vocabulary_is_tried_on_what_it_has_not_seen(kind: str, call: Call) -> None:
    found = call("train", "--kind", kind, "--size", "330", "en=a.en", "fr=all.fr", "en=b.en", "--out", "new")
    made = read_tokenizer("new")
    assert made is not None
    assert (found["tokenizer"], found["kind"], found["vocab_size"]) == ("new", kind, len(made))
    assert made.kind == kind
    assert len(made) <= 330
    assert list(found["languages"]) == ["en", "fr"]
    for language, tail in (("en", ENGLISH[-4:]), ("fr", FRENCH[-2:])):
        wanted = fit(made, tail)
        assert found["languages"][language] == {
            **{name: getattr(wanted, name) for name in ("texts", "bytes", "words", "tokens", "unknown", "used")},
            **{name: getattr(wanted, name) for name in ("fertility", "compression", "unknown_share", "used_share")},
        }
    again = call("report", "new", "fr=all.fr")
    assert again["kind"] == kind
    assert again["languages"]["fr"]["texts"] == 20


def test_a_pattern_a_field_and_capitals(call: Call) -> None:
    cased = call("train", "--kind", "wordpiece", "--cased", "--size", "90", "*.en", "--out", "cased")
    assert cased["languages"].keys() == {""}
    assert cased["languages"][""]["texts"] == 4
    tokenizer = read_tokenizer("cased")
    assert tokenizer is not None
    assert tokenizer.encode("The") != tokenizer.encode("the")
    assert call("train", "--size", "280", "--field", "body", "texts.jsonl", "--out", "n")["languages"][""]["texts"] == 4


def test_the_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tokenizer", "train", "--size", "300", "*.en", "--out", "new"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("new: bytebpe, ")
    assert [line.split()[:2] for line in printed.splitlines() if line.strip().startswith("all")] == [["all", "4"]]


BROKEN = {
    "all at once": (
        ["train", "--size", "0", "nowhere.txt", "fr=no.fr", "--out", "one.txt"],
        ["4 faults", "--out='one.txt' exists", "--size=0", "paths='nowhere.txt' matches no file", "paths='no.fr'"],
    ),
    "no room for the bytes": (["train", "--size", "100", "a.en", "--out", "new"], ["vocab_size=100 must be at least"]),
    "too few lines": (
        ["train", "--size", "300", "a=one.txt", "b=empty.txt", "--out", "new"],
        ["FILES='one.txt' hold 1 line of text", "FILES='empty.txt' hold 0 lines"],
    ),
    "an unknown kind": (["train", "--kind", "words", "--size", "300", "a.en", "--out", "new"], ["--kind", "unigram"]),
    "no such field": (["train", "--size", "300", "texts.jsonl", "--out", "new"], ["fields='text' is missing"]),
    "no such tokenizer": (["report", "nobody", "a.en"], ["name='nobody'"]),
    "a folder without one": (["report", ".", "a.en"], ["--tokenizer='.' holds no tokenizer"]),
    "nothing to measure": (["report", "smollm2", "empty.txt"], ["FILES='empty.txt' hold 0 lines of text"]),
    "no text": (["report", "smollm2", "nowhere.txt"], ["paths='nowhere.txt' matches no file"]),
}


@pytest.mark.parametrize(("arguments", "named"), BROKEN.values(), ids=BROKEN)
def test_a_broken_command_line_ends_in_one_clear_error(
    arguments: list[str], named: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tokenizer", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("error: ") == 1
    assert [part for part in named if part not in printed.err] == []
    assert not (place / "new").exists()


@pytest.mark.slow
def test_real_languages(shared: Path, call: Call) -> None:
    """French takes more tokens than English in a vocabulary of English, and no more in one of its own."""
    raw = shared / "data" / "multi30k" / "raw"
    tried = [f"en={raw}/val.en.gz", f"fr={raw}/val.fr.gz"]
    fertility = {}
    for language in ("en", "fr"):
        call("train", "--size", "1500", f"{raw}/test_2016_flickr.{language}.gz", "--out", language)
        fits = call("report", language, *tried)["languages"]
        fertility[language] = {name: one["fertility"] for name, one in fits.items()}
    assert fertility["en"]["fr"] > 1.3 * fertility["en"]["en"]
    assert fertility["fr"]["fr"] < 0.85 * fertility["en"]["fr"]
