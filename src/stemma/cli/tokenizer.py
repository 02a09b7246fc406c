"""`stemma tokenizer train` and `stemma tokenizer report`: vocabularies from text, and how well they fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stemma.cli import options
from stemma.cli.output import open_tokenizer, show, table, waiting
from stemma.errors import Fault

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stemma.data import Files
    from stemma.text import Tokenizer

TRAIN_EXAMPLES = """Examples:

$ stemma tokenizer train --kind bytebpe --size 8000 texts.txt --out vocabulary

$ stemma tokenizer train --kind unigram --size 32000 en=books/en/*.txt de=books/de/*.txt --out vocabulary --json"""

REPORT_EXAMPLES = """Examples:

$ stemma tokenizer report smollm2 en=en.txt de=de.txt"""

HELD_OUT = 0.1
"""Share of each language's documents, the last ones, that a vocabulary is tried on and not learnt from."""

Files_ = Annotated[
    list[str],
    typer.Argument(metavar="[LANG=]FILES...", help="Files or patterns; a document is a line.", show_default=False),
]
Field = Annotated[str, typer.Option("--field", help="Of .jsonl, .csv and .parquet files, the text.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Learn vocabularies from text, and see how well they fit.")
    group.command("train", epilog=TRAIN_EXAMPLES)(train)
    group.command("report", epilog=REPORT_EXAMPLES)(report)
    app.add_typer(group, name="tokenizer")


def train(
    files: Files_,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.", show_default=False)],
    size: Annotated[int, typer.Option("--size", help="Tokens at most, special ones included.", show_default=False)],
    kind: Annotated[
        Literal["bytebpe", "bpe", "wordpiece", "unigram"], typer.Option("--kind", help="Of vocabulary.")
    ] = "bytebpe",
    cased: Annotated[bool, typer.Option("--cased", help="Keep capitals in a WordPiece vocabulary.")] = False,
    field: Field = "text",
    json: options.Json = False,
) -> None:
    """Learn a vocabulary, and report how it fits the last tenth of each language, which it has not seen."""
    groups = _groups(files, field)
    faults = [options.fresh("--out", out), options.at_least("--size", size, 1), *_unread(groups)]
    options.check("stemma tokenizer train", faults)
    from stemma.text import train as learn

    counts = {language: sum(1 for _ in _texts(group)) for language, group in groups.items()}
    tails = {language: count - max(1, round(HELD_OUT * count)) for language, count in counts.items()}
    options.check("stemma tokenizer train", _scarce(groups, counts, 2, "of which one is to be held out"))
    with waiting("learning"):
        heads = (text for language, group in groups.items() for text in islice(_texts(group), tails[language]))
        tokenizer = learn(heads, kind=kind, vocab_size=size, lowercase=not cased)
    tokenizer.save(out)
    fits = {
        language: _fit(tokenizer, islice(_texts(group), tails[language], None)) for language, group in groups.items()
    }
    show({"tokenizer": str(out), "kind": kind, "vocab_size": len(tokenizer), "languages": fits}, json, _draw)


def report(
    tokenizer: Annotated[str, typer.Argument(metavar="TOKENIZER", help="As --model takes it.", show_default=False)],
    files: Files_,
    field: Field = "text",
    json: options.Json = False,
) -> None:
    """Report how a vocabulary fits texts: tokens a word, unknown ones, bytes a token."""
    groups = _groups(files, field)
    options.check("stemma tokenizer report", _unread(groups))
    found = open_tokenizer(tokenizer)
    fits = {language: _fit(found, _texts(group)) for language, group in groups.items()}
    counts = {language: fit["texts"] for language, fit in fits.items()}
    options.check("stemma tokenizer report", _scarce(groups, counts, 1, "which cannot be measured"))
    show({"tokenizer": tokenizer, "kind": found.kind, "vocab_size": len(found), "languages": fits}, json, _draw)


def _groups(given: Sequence[str], field: str) -> dict[str, Files]:
    """The files of each language, "" where none is told."""
    from stemma.data import Files

    named: dict[str, list[str]] = {}
    for one in given:
        language, equals, path = one.partition("=")
        named.setdefault(language if equals else "", []).append(path if equals else one)
    return {language: Files(paths=tuple(paths), split="line", fields=(field,)) for language, paths in named.items()}


def _unread(groups: Mapping[str, Files]) -> Iterator[Fault]:
    return (fault for group in groups.values() for fault in group.faults())


def _scarce(groups: Mapping[str, Files], counts: Mapping[str, int], least: int, use: str) -> Iterator[Fault]:
    """The fault of each language that has too few lines for their use."""
    for language, count in counts.items():
        if count < least:
            rule = f"hold {count} line{'s' * (count != 1)} of text, {use}"
            yield Fault("FILES", " ".join(groups[language].paths), rule, "give more text")


def _texts(group: Files) -> Iterator[str]:
    from stemma.data import documents

    return (text for (text,) in documents(group))


def _fit(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, Any]:
    from stemma.text import fit

    found = fit(tokenizer, texts)
    counts = {name: getattr(found, name) for name in ("texts", "bytes", "words", "tokens", "unknown", "used")}
    shares = {name: getattr(found, name) for name in ("fertility", "compression", "unknown_share", "used_share")}
    return counts | shares


def _draw(result: dict[str, Any]) -> Iterator[RenderableType]:
    yield f"{result['tokenizer']}: {result['kind']}, {result['vocab_size']:,} tokens"
    titles = ("language", "texts#", "tokens#", "tokens a word#", "bytes a token#", "unknown#", "vocabulary used#")
    yield table(
        titles,
        (
            (
                language or "all",
                f"{one['texts']:,}",
                f"{one['tokens']:,}",
                f"{one['fertility']:.3f}",
                f"{one['compression']:.3f}",
                f"{one['unknown_share']:.3%}",
                f"{one['used_share']:.1%}",
            )
            for language, one in result["languages"].items()
        ),
    )
