"""`stemma classify`, `stemma tag` and `stemma answer`: what a model that has learnt a task tells of texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, table
from stemma.errors import Fault, InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

CLASSIFY_EXAMPLES = """Examples:

$ stemma classify "A film to remember." "Two hours of my life." --model runs/sst2/model

$ stemma classify "He left." "He went away." --pair --model runs/mrpc/model --json

$ stemma classify --file reviews.txt --model runs/sst2/model"""

TAG_EXAMPLES = """Examples:

$ stemma tag "Ada Lovelace met Charles Babbage in London." --model runs/wnut17/model

$ stemma tag --file sentences.txt --model runs/wnut17/model --json"""

ANSWER_EXAMPLES = """Examples:

$ stemma answer "Who won?" --context "Blue won the match by two points." --model runs/squad/model

$ stemma answer "Who won?" --file report.txt --n-best 3 --model runs/squad/model --json"""

Texts = Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="One text or more.", show_default=False)]
File = Annotated[Path | None, typer.Option("--file", "-f", help="A UTF-8 file, one text a line.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("classify", epilog=CLASSIFY_EXAMPLES)(classify)
    app.command("tag", epilog=TAG_EXAMPLES)(tag)
    app.command("answer", epilog=ANSWER_EXAMPLES)(answer)


def classify(
    model: options.Model,
    texts: Texts = None,
    pair: Annotated[bool, typer.Option("--pair", help="Texts come in twos; in a file with a tab between.")] = False,
    file: File = None,
    dtype: options.Dtype = None,
    quantize: options.Quantize = "none",
    json: options.Json = False,
) -> None:
    """Show the probability of each class of each text, or of each pair of texts."""
    rows = [[text] for text in _texts("stemma classify", texts, file)]
    if pair:
        rows = _pairs(rows, file)
    lm = open_model(model, dtype, quantize)
    firsts, *seconds = (list(column) for column in zip(*rows, strict=True))
    told = lm.classify(firsts, *seconds)
    found = [{"texts": row, "classes": classes} for row, classes in zip(rows, told, strict=True)]
    show({"model": lm.name, "texts": found}, json, _draw_classes)


def tag(
    model: options.Model,
    texts: Texts = None,
    file: File = None,
    dtype: options.Dtype = None,
    quantize: options.Quantize = "none",
    json: options.Json = False,
) -> None:
    """Show what each text mentions: names, places, or whatever the model's tags mean."""
    given = _texts("stemma tag", texts, file)
    lm = open_model(model, dtype, quantize)
    found = [
        {"text": text, "mentions": [asdict(one) for one in mentions]}
        for text, mentions in zip(given, lm.tag(given), strict=True)
    ]
    show({"model": lm.name, "texts": found}, json, _draw_mentions)


def answer(
    model: options.Model,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What is asked.", show_default=False)],
    context: Annotated[str | None, typer.Option("--context", "-c", help="The text that holds the answer.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A UTF-8 file that holds the text.")] = None,
    n_best: Annotated[int, typer.Option("--n-best", help="How many answers to show.")] = 1,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Say that there is no answer where that scores so much more.")
    ] = None,
    dtype: options.Dtype = None,
    quantize: options.Quantize = "none",
    json: options.Json = False,
) -> None:
    """Show the stretch of a text that answers a question."""
    one = (context is None) != (file is None)
    remedy = "give --context TEXT or --file FILE"
    options.check(
        "stemma answer",
        [
            options.readable("QUESTION", question),
            options.readable("--context", context),
            options.at_least("--n-best", n_best, 1),
            None if one else Fault("--context", context, "or --file must be given, and not both", remedy),
        ],
    )
    text = context if file is None else _read("stemma answer", file)
    assert text is not None, "one of the two is given"
    lm = open_model(model, dtype, quantize)
    found = [asdict(span) for span in lm.answer(question, text, n_best, threshold=threshold)]
    show({"model": lm.name, "question": question, "answers": found}, json, _draw_answers)


def _draw_classes(result: dict[str, Any]) -> Iterator[RenderableType]:
    rows = [
        (" | ".join(one["texts"]) if not place else "", label, f"{share:.2%}")
        for one in result["texts"]
        for place, (label, share) in enumerate(one["classes"].items())
    ]
    yield table(("text", "class", "probability#"), rows)


def _draw_mentions(result: dict[str, Any]) -> Iterator[RenderableType]:
    for one in result["texts"]:
        rows = [(m["text"], m["type"], m["start"], m["end"], f"{m['score']:.2%}") for m in one["mentions"]]
        yield table(("mention", "type", "start#", "end#", "score#"), rows, title=one["text"])


def _draw_answers(result: dict[str, Any]) -> Iterator[RenderableType]:
    rows = [
        (one["text"] or "no answer", one["start"], one["end"], f"{one['score']:.3f}", f"{one['probability']:.2%}")
        for one in result["answers"]
    ]
    yield table(("answer", "start#", "end#", "score#", "probability#"), rows, title=result["question"])


def _texts(command: str, texts: list[str] | None, file: Path | None) -> list[str]:
    """The texts of a command line, or the lines of its file."""
    if bool(texts) == (file is not None):
        rule, remedy = "must be given, or --file, and not both", "give a text or a file"
        raise InputError(command, Fault("TEXT", texts or None, rule, remedy))
    if file is None:
        options.check(command, [options.readable("TEXT", text) for text in texts or ()])
        return texts or []
    lines = _read(command, file).splitlines()
    if blank := [number for number, line in enumerate(lines, 1) if not line.strip()]:
        raise InputError(command, Fault("line", blank, "holds no text", f"fill or delete it in {file}"))
    return lines


def _pairs(rows: list[list[str]], file: Path | None) -> list[list[str]]:
    """Texts in twos: two after one another on the command line, two a line with a tab between in a file."""
    if file is not None:
        pairs = [row[0].split("\t") for row in rows]
        wrong = [number for number, pair in enumerate(pairs, 1) if len(pair) != 2 or not all(map(str.strip, pair))]
        fault = Fault("line", wrong, "must hold two texts", f"put a tab between them in {file}") if wrong else None
    else:
        pairs = [[text for row in rows[number : number + 2] for text in row] for number in range(0, len(rows), 2)]
        fault = Fault("TEXT", len(rows), "must come in twos", "give a second one") if len(rows) % 2 else None
    options.check("stemma classify", [fault])
    return pairs


def _read(command: str, file: Path) -> str:
    """A file's text."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"byte {error.start} is not UTF-8"
        fault = Fault("--file", str(file), f"cannot be read: {reason}", "name another file")
        raise InputError(command, fault) from error
    if not text.strip():
        raise InputError(command, Fault("--file", str(file), "is empty", "write some text into it"))
    return text
