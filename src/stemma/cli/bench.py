"""`stemma bench`: how fast a model runs on the user's own machine, and with which setting it is fastest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, table, waiting
from stemma.errors import Fault, InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMPLES = """Examples:

$ stemma bench smollm2 --prompt 64 --max-new-tokens 16

$ stemma bench runs/story/model --json"""

_SETTINGS: tuple[tuple[str, str], ...] = (
    ("float32", "none"), ("bfloat16", "none"), ("bfloat16", "int8"), ("bfloat16", "int4"),
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("bench", epilog=EXAMPLES)(bench)


def bench(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As --model takes it.", show_default=False)],
    prompt: Annotated[int, typer.Option("--prompt", help="Tokens that are read.")] = 256,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", "-n", help="Tokens that are written.")] = 64,
    json: options.Json = False,
) -> None:
    """Measure reading and writing with each setting, and the share of the memory's speed that they reach."""
    checks = [options.at_least("--prompt", prompt, 1), options.at_least("--max-new-tokens", max_new_tokens, 2)]
    options.check("stemma bench", checks)

    from stemma.compiled import compiled
    from stemma.engine.measure import measure, memory_speed

    memory = memory_speed()
    found: list[dict[str, Any]] = []
    for dtype, quantize in _SETTINGS:
        lm = open_model(model, dtype, quantize)  # type: ignore[arg-type]
        if not lm.architecture.n_decoder_layers:
            raise InputError(model, Fault("MODEL", lm.architecture.kind, "does not write", "name a model that does"))
        with waiting(f"measuring {dtype}, {quantize}"):
            speed = measure(lm, memory, prompt, max_new_tokens)
        found.append({"dtype": dtype, "quantize": quantize, **asdict(speed)})
    best = max(found, key=lambda one: one["writing"])
    native = compiled()
    show(
        {
            "model": model,
            "memory_bytes_a_second": memory,
            "instructions": None if native is None else native.isa(),
            "settings": found,
            "best": {name: best[name] for name in ("dtype", "quantize")},
        },
        json,
        _draw,
    )


def _draw(result: dict[str, Any]) -> Iterator[RenderableType]:
    columns = (
        "--dtype",
        "--quantize",
        "reads, tokens/s#",
        "writes, tokens/s#",
        "MB a token#",
        "share of memory speed#",
    )
    rows = [
        (
            one["dtype"],
            one["quantize"],
            f"{one['reading']:.0f}",
            f"{one['writing']:.1f}",
            f"{one['weight_bytes'] / 1e6:.0f}",
            f"{one['share']:.0%}",
        )
        for one in result["settings"]
    ]
    yield table(columns, rows)
    yield f"memory: {result['memory_bytes_a_second'] / 1e9:.1f} GB/s; compiled part: {result['instructions'] or 'none'}"
    yield f"best here: --quantize {result['best']['quantize']}"
