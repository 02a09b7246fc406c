"""The page of the lecture's ideas: none is missing, each leads to its code, and what it shows is so."""

from __future__ import annotations

import contextlib
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "lecture.md"
HEADING = re.compile(r"^##(#?) (?:(\d+)\. )?(.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SOURCE = re.compile(r"\]\((\.\./src/stemma/[^)#]+\.py)\)")
ABSENT = re.compile(r"^\*\*Not there yet:\*\* (.+(?:\n.+)*)", re.MULTILINE)
NUMBER = re.compile(r"(?:^|\s)(\d{1,2}) ")
PLACE = re.compile(r"`stemma\.([\w.]+)`")


class Idea(NamedTuple):
    """One section of the page."""

    number: int
    title: str
    chapter: str
    text: str

    @property
    def absent(self) -> list[str]:
        """The packages and modules that will hold what is not there yet, as paths."""
        return [name.replace(".", "/") for note in ABSENT.findall(self.text) for name in PLACE.findall(note)]

    @property
    def python(self) -> list[str]:
        """What the section runs."""
        return [block for kind, block in BLOCK.findall(self.text) if kind == "python"]


def ideas() -> Iterator[Idea]:
    """The sections in their order."""
    text = PAGE.read_text(encoding="utf-8")
    headings = list(HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    chapter = ""
    for heading, end in zip(headings, ends, strict=True):
        level, number, title = heading.groups()
        if level:
            yield Idea(int(number or 0), title, chapter, text[heading.end() : end])
        else:
            chapter = title


IDEAS = list(ideas())


def name(idea: Idea) -> str:
    return f"{idea.number} {idea.title}"


def test_there_are_seventy_ideas_in_order() -> None:
    assert [idea.number for idea in IDEAS] == [*range(1, 71)]


def test_they_stand_in_the_chapters_of_the_lecture(shared: Path) -> None:
    lecture = (shared / "LECTURE.md").read_text(encoding="utf-8")
    parts = re.split(r"^\*\*(.+?)\.\*\*", lecture, flags=re.MULTILINE)[1:]
    chapters = zip(parts[::2], parts[1::2], strict=True)
    taught = [(chapter, int(number)) for chapter, text in chapters for number in NUMBER.findall(text)]
    assert [(idea.chapter, idea.number) for idea in IDEAS] == taught


@pytest.mark.parametrize("idea", IDEAS, ids=name)
def test_an_idea_is_held_by_a_file_and_shown_or_said_to_be_absent(idea: Idea) -> None:
    files = SOURCE.findall(idea.text)
    assert [file for file in files if not (PAGE.parent / file).is_file()] == []
    assert idea.absent or files
    assert idea.absent or BLOCK.search(idea.text)
    assert ("not there yet" in idea.text.lower()) == bool(idea.absent), "a note names the place that will hold it"


@pytest.mark.parametrize("idea", [idea for idea in IDEAS if idea.absent], ids=name)
def test_what_is_said_to_be_absent_is(idea: Idea) -> None:
    places = [ROOT / "src" / "stemma" / path for path in idea.absent]
    assert [place for place in places if place.exists() or place.with_suffix(".py").exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("idea", [idea for idea in IDEAS if idea.python], ids=name)
def test_an_idea_stands_alone_and_prints_what_stands_in_its_comments(idea: Idea) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    for block in idea.python:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, name(idea), "exec"), names)
        tokens = tokenize.generate_tokens(io.StringIO(block).readline)
        comments = [token.string.removeprefix("# ") for token in tokens if token.type == tokenize.COMMENT]
        assert printed.getvalue().splitlines() == comments
