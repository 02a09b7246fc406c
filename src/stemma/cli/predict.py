"""`stemma next`: the next tokens, the beams and the loss of a target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from math import exp
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, table
from stemma.errors import Fault

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.tree import Tree

DEFAULT_STEPS = 5
BAR_WIDTH = 24

EXAMPLES = """Examples:

$ stemma next "In this example we are going to" --top 5 --beams 5 --steps 5

$ stemma next "The capital of France is" --target " Paris" --json"""


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("next", epilog=EXAMPLES)(next_tokens)


def next_tokens(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text to continue.", show_default=False)],
    model: options.Model = "smollm2",
    top: Annotated[int, typer.Option("--top", help="How many of the likeliest next tokens to show.")] = 5,
    beams: Annotated[int | None, typer.Option("--beams", help="Search with this many beams.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help=f"How long the beams are; {DEFAULT_STEPS}.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Score this continuation token by token.")] = None,
    dtype: options.Dtype = None,
    quantize: options.Quantize = "none",
    json: options.Json = False,
) -> None:
    """Show the next tokens with their true probabilities, the beam tree, and the loss of a target."""
    options.check(
        "stemma next",
        [
            options.readable("TEXT", text),
            options.at_least("--top", top, 1),
            options.at_least("--beams", beams, 1),
            options.at_least("--steps", steps, 1),
            Fault("--steps", steps, "needs --beams", "add --beams 5") if steps is not None and beams is None else None,
            Fault("--target", target, "holds no token", "give some text") if target == "" else None,
        ],
    )
    lm = open_model(model, dtype, quantize)
    result = {
        "model": lm.name,
        "prompt": text,
        "tokens": [asdict(token) for token in lm.next(text, top=top)],
        "beams": [asdict(path) for path in lm.beams(text, width=beams, steps=steps or DEFAULT_STEPS)] if beams else [],
        "target": None if target is None else asdict(lm.score(text, target)),
    }
    show(result, json, _draw)


def _draw(result: dict[str, Any]) -> Iterator[RenderableType]:
    yield table(
        ("token", "probability#", "logprob#", "id#", ""),
        (
            (
                repr(token["text"]),
                f"{token['probability']:.2%}",
                f"{token['logprob']:.3f}",
                token["id"],
                "█" * round(BAR_WIDTH * token["probability"]),
            )
            for token in result["tokens"]
        ),
        title=f"Next token, {result['model']}",
    )
    if result["beams"]:
        yield _beam_tree(result["prompt"], result["beams"])
    if result["target"] is not None:
        target = result["target"]
        rows = [(repr(token["text"]), f"{-token['logprob']:.3f}", token["id"]) for token in target["tokens"]]
        yield table(("target", "loss#", "id#"), [*rows, ("all", f"{target['loss']:.3f}", "")])


def _beam_tree(prompt: str, beams: list[dict[str, Any]]) -> Tree:
    """The beams as one tree, in which a shared beginning stands once."""
    from rich.text import Text
    from rich.tree import Tree

    labels: dict[tuple[int, ...], Text] = {(): Text(repr(prompt))}
    nodes: dict[tuple[int, ...], Tree] = {(): Tree(labels[()])}
    for rank, beam in enumerate(beams, start=1):
        path: tuple[int, ...] = ()
        for token in beam["tokens"]:
            parent, path = nodes[path], (*path, token["id"])
            if path not in nodes:
                labels[path] = Text(f"{token['text']!r} {exp(token['logprob']):.1%}")
                nodes[path] = parent.add(labels[path])
        labels[path].append(f"   beam {rank}, logprob {beam['logprob']:.3f}", style="dim")
    return nodes[()]
