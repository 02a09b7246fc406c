"""Every example in the documents runs, and prints what the document says."""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from stemma.cli.main import run

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What reads SmolLM2, by its name or as the default model, takes seconds.
LARGE = re.compile(r"smollm2|stemma (?:next|generate|chat)\b(?!.*--model)")
SMALL = re.compile(r"minilm|stemma (?:embed|similarity)\b")
# And what trains, and what shows what that left.
TRAINS = re.compile(
    r"stemma (?:pretrain|runs|adapt|merge)\b|--model (?:runs/|merged)|\.train\(\)|stemma\.(?:training|tuning)"
)
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each `$ stemma ...` of a block with the lines that stand below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        if command.startswith("stemma "):
            yield command, output


def marks(example: str) -> list[pytest.MarkDecorator]:
    """Whether an example is slow, and whether it reads real weights."""
    if LARGE.search(example):
        return [pytest.mark.slow, pytest.mark.real]
    if TRAINS.search(example):
        return [pytest.mark.slow]
    return [pytest.mark.real] if SMALL.search(example) else []


def alike(examples: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """The commands of a block, parted where the next one is slow and the one before is not, or the other way round."""
    return (list(group) for _, group in groupby(examples, key=lambda example: marks(example[0])))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the files that the examples read."""
    shutil.copytree(ROOT / "docs" / "examples", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name(page), marks=marks("".join(blocks(page, "python"))))
        for page in PAGES
        if blocks(page, "python")
    ],
)
def test_python_examples_run(page: Path) -> None:
    """The blocks of a page share their names, as a reader who types them in order would have it."""
    names: dict[str, Any] = {"__name__": "example"}
    for text in blocks(page, "python"):
        exec(compile(text, name(page), "exec"), names)


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    "examples",
    [
        pytest.param(examples, id=f"{name(page)}: {examples[0][0]}", marks=marks(examples[0][0]))
        for page in PAGES
        for block in blocks(page, "console")
        for examples in alike(commands(block))
    ],
)
def test_commands_print_what_is_shown(examples: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other, since a command of a block may read what one before it wrote."""
    for command, output in examples:
        assert run(shlex.split(command)[1:]) == 0, command
        printed = capsys.readouterr().out
        wanted = output.strip()
        lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
        assert not wanted or doctest.OutputChecker().check_output(wanted, lines, doctest.ELLIPSIS), printed


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("index", [ROOT / "docs" / "index.md", ROOT / "docs" / "decisions" / "index.md"], ids=name)
def test_an_index_leads_to_every_page_beside_it(index: Path) -> None:
    text = index.read_text(encoding="utf-8")
    assert [page.name for page in index.parent.glob("*.md") if page != index and f"({page.name})" not in text] == []
