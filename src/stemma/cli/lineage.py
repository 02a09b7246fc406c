"""`stemma tree`, `stemma diff` and `stemma info`: the families as data, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, table, write
from stemma.errors import Fault

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stemma.spec import Architecture

TREE_EXAMPLES = """Examples:

$ stemma tree

$ stemma tree --svg tree.svg"""

DIFF_EXAMPLES = """Examples:

$ stemma diff gpt2 llama"""

INFO_EXAMPLES = """Examples:

$ stemma info bert      (a family: its sizes)

$ stemma info smollm2   (a checkpoint: what it holds)"""


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("tree", epilog=TREE_EXAMPLES)(tree)
    app.command("diff", epilog=DIFF_EXAMPLES)(diff)
    app.command("info", epilog=INFO_EXAMPLES)(info)


def tree(
    svg: Annotated[Path | None, typer.Option("--svg", help="Write the picture of the tree to this file.")] = None,
    json: options.Json = False,
) -> None:
    """Draw the family tree with the sizes that were published."""
    from stemma.families.picture import text_tree, tree_json, tree_svg

    if svg is None:
        show(tree_json(), json, lambda _: [text_tree()])
        return
    options.check("stemma tree", [options.fresh("--svg", svg)])
    write("stemma tree", "--svg", svg, lambda stream: stream.write(tree_svg().encode()))
    show({"out": str(svg)}, json, lambda result: [result["out"]])


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A family.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another family.", show_default=False)],
    json: options.Json = False,
) -> None:
    """Show every field in which two families differ."""
    from stemma.families import catalogue
    from stemma.spec import diff as differences

    known = {family.name: family for family in catalogue()}
    remedy = f"use one of {', '.join(known)}"
    faults = (Fault(option, name, "is no family", remedy) for option, name in (("A", a), ("B", b)) if name not in known)
    options.check("stemma diff", faults)
    changes = [
        {"field": change.path, "a": _plain(change.before), "b": _plain(change.after)}
        for change in differences(known[a], known[b])
    ]
    show({"a": a, "b": b, "changes": changes}, json, _draw_diff)


def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A family, or what --model takes.", show_default=False)],
    tokens: Annotated[int, typer.Option("--tokens", help="The length to count operations and cache for.")] = 512,
    dtype: options.Dtype = "float32",
    json: options.Json = False,
) -> None:
    """Show what a family or a checkpoint holds, and what it costs to run."""
    from stemma.families import catalogue

    options.check("stemma info", [options.readable("MODEL", model), options.at_least("--tokens", tokens, 1)])
    families = {family.name: family for family in catalogue()}
    if model in families and not Path(model).exists():
        from stemma.families.picture import tree_json

        show(tree_json((families[model],))[0], json, _draw_family)
        return
    lm = open_model(model, dtype)
    spec = lm.architecture
    record = {
        "model": lm.name,
        "family": lm.family.name,
        "lineage": [family.name for family in lm.family.ancestors],
        "kind": spec.kind,
        **_costs(spec, tokens, dtype),
        "architecture": {part.name: _plain(getattr(spec, part.name)) for part in fields(spec)},
    }
    show(record, json, _draw_info)


def _costs(spec: Architecture, tokens: int, dtype: str) -> dict[str, int | str]:
    from stemma.spec import EncoderDecoder, count

    lengths = (tokens, tokens) if isinstance(spec.stacks, EncoderDecoder) else tokens
    return {
        "parameters": count.parameters(spec),
        "dtype": dtype,
        "weight_bytes": count.weight_bytes(spec, dtype),
        "tokens": tokens,
        "forward_flops": count.forward_flops(spec, lengths),
        "training_flops": count.training_flops(spec, lengths),
        "cache_bytes": count.cache_bytes(spec, lengths, dtype),
    }


def _plain(value: object) -> object:
    """A field as JSON holds it: numbers, words and tables as they are, parts as their constructor reads."""
    return value if value is None or isinstance(value, bool | int | float | str | dict) else repr(value)


def _draw_diff(result: dict[str, Any]) -> Iterator[RenderableType]:
    """All changes but those of sizes, which `stemma info` shows better."""
    changes = [change for change in result["changes"] if not change["field"].startswith("sizes.")]
    yield table(("field", result["a"], result["b"]), (["" if v is None else v for v in c.values()] for c in changes))


def _draw_family(record: dict[str, Any]) -> Iterator[RenderableType]:
    facts = {**record}
    sizes = facts.pop("sizes")
    yield table(("family", facts.pop("family")), ((fact, value or "") for fact, value in facts.items()))
    columns = ("size", *(f"{name}#" for name in next(iter(sizes.values()))))
    yield table(columns, ((name, *(f"{number:,}" for number in size.values())) for name, size in sizes.items()))


def _draw_info(record: dict[str, Any]) -> Iterator[RenderableType]:
    facts = {**record, "lineage": " < ".join(record["lineage"])}
    architecture = facts.pop("architecture")
    yield table(("model", facts.pop("model")), ((name, _shown(value)) for name, value in facts.items()))
    yield table(("architecture", ""), architecture.items())


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
