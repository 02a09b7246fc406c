"""`stemma corrupt`: what an objective does to a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemma.cli import options
from stemma.cli.output import open_tokenizer, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMPLES = """Examples:

$ stemma corrupt --objective mlm "Thank you for inviting me to your party last week"

$ stemma corrupt --objective t5 "Thank you for inviting me to your party last week" --seed 3 --json

$ stemma corrupt --objective tlm "I was invited." --pair "J'étais invité." """

# Inputs of one number a token of the encoder, or of the only stack; "places" has two.
_PER_TOKEN = ("segments", "languages", "documents", "ranks")
_IN_TABLES = ("place", "place in blank")


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("corrupt", epilog=EXAMPLES)(corrupt)


def corrupt(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A sentence.", show_default=False)],
    objective: Annotated[str, typer.Option("--objective", "-o", help="Its name, such as mlm.", show_default=False)],
    pair: Annotated[
        str | None, typer.Option("--pair", help="A second text, for objectives that read two; the same if not given.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="A model as --model takes it; else one is made of the text.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Draw from this seed.")] = 0,
    json: options.Json = False,
) -> None:
    """Show what a network reads of a sentence, and what it is asked, when it learns by an objective."""
    options.check(
        "stemma corrupt",
        [options.readable("TEXT", text), options.readable("--pair", pair), options.at_least("--seed", seed, 0)],
    )
    from stemma.objectives.demonstration import demonstrate

    reader = None if tokenizer is None else open_tokenizer(tokenizer)
    shown = demonstrate(objective, text, pair=pair, tokenizer=reader, seed=seed)
    show(asdict(shown), json, _draw)


def _draw(result: dict[str, Any]) -> Iterator[RenderableType]:
    inputs, targets = result["inputs"], result["targets"]
    yield f"{result['objective']}: {' '.join(result['original'])}"
    written = inputs.get("decoder_tokens")
    kinds = {name: inputs[name] for name in _PER_TOKEN if any(inputs.get(name, ()))}
    kinds |= dict(zip(_IN_TABLES, inputs.get("places", ()), strict=False))
    yield _tokens("encoder reads" if written else "reads", result["tokens"], kinds, {} if written else targets)
    if written:
        yield _tokens("decoder reads", written, {}, targets)
    if "prefix" in inputs:
        yield f"The first {inputs['prefix']} tokens are seen by all."
    if "spans" in inputs:
        yield table(
            ("after#", "before#", "boundaries"),
            (
                (*around, " ".join(one["token"] for one in targets["boundaries"] if one["place"][0] == number))
                for number, around in enumerate(inputs["spans"])
            ),
        )


def _tokens(title: str, tokens: list[str], kinds: dict[str, list[int]], targets: dict[str, Any]) -> RenderableType:
    """Each token with what else is read of it, and what is asked at its place."""
    asked = {
        term: {one["place"]: one["token"] for one in found}
        for term, found in targets.items()
        if not any(isinstance(one["place"], list) for one in found)
    }
    beside = [*kinds.values(), *([found.get(place, "") for place in range(len(tokens))] for found in asked.values())]
    columns = ("#", title, *(f"{name}#" for name in kinds), *asked)
    return table(columns, zip(range(len(tokens)), tokens, *beside, strict=True))
