"""`stemma tree`, `stemma diff` and `stemma info`: the families as data, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, table
from stemma.errors import Fault

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.tree import Tree

    from stemma.spec import Architecture, Family

SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "vocab_size")
FACTS = ("year", "organisation", "paper", "kind", "objective", "tokenizer")

DIFF_EXAMPLES = """Examples:

$ stemma diff gpt2 llama"""

INFO_EXAMPLES = """Examples:

$ stemma info bert      (a family: its sizes)

$ stemma info smollm2   (a checkpoint: what it holds)"""


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("tree")(tree)
    app.command("diff", epilog=DIFF_EXAMPLES)(diff)
    app.command("info", epilog=INFO_EXAMPLES)(info)


def tree(json: options.Json = False) -> None:
    """Draw the family tree with the sizes that were published."""
    from stemma.families import catalogue

    show([_record(family) for family in catalogue()], json, _draw_tree)


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
        show(_record(families[model]), json, _draw_family)
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


def _record(family: Family) -> dict[str, Any]:
    """A family as `stemma tree --json` prints it; its keys are a contract."""
    from stemma.spec import count

    sizes = {}
    for name in family.sizes:
        architecture = family.build(name)
        numbers = {size: getattr(architecture, size) for size in SIZES}
        sizes[name] = {"parameters": count.parameters(architecture), **numbers}
    parent = family.parent.name if family.parent else None
    return {"family": family.name, "parent": parent, **{fact: getattr(family, fact) for fact in FACTS}, "sizes": sizes}


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


def _human(number: int) -> str:
    """A count in three figures at most.

    >>> _human(124_439_808), _human(6_738_415_616), _human(259_328)
    ('124M', '6.74B', '259K')
    """
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= unit:
            return f"{number / unit:.3g}{letter}"
    return str(number)


def _draw_tree(records: list[dict[str, Any]]) -> list[Tree]:
    from rich.text import Text
    from rich.tree import Tree

    nodes: dict[str, Tree] = {}
    for record in records:
        sizes = ", ".join(f"{name} {_human(size['parameters'])}" for name, size in record["sizes"].items())
        label = Text(record["family"], style="bold")
        label.append(f" {record['year']} {record['organisation']}, {record['kind']}: {sizes}", style="not bold")
        parent = nodes.get(record["parent"])
        nodes[record["family"]] = parent.add(label) if parent else Tree(label)
    return [nodes[record["family"]] for record in records if record["parent"] is None]


def _draw_diff(result: dict[str, Any]) -> Iterator[RenderableType]:
    """All changes but those of sizes, which `stemma info` shows better."""
    changes = [change for change in result["changes"] if not change["field"].startswith("sizes.")]
    yield table(("field", result["a"], result["b"]), (["" if v is None else v for v in c.values()] for c in changes))


def _draw_family(record: dict[str, Any]) -> Iterator[RenderableType]:
    yield table(("family", record["family"]), ((fact, record[fact] or "") for fact in ("parent", *FACTS)))
    columns = ("size", *(f"{name}#" for name in ("parameters", *SIZES)))
    yield table(columns, ((name, *(f"{n:,}" for n in size.values())) for name, size in record["sizes"].items()))


def _draw_info(record: dict[str, Any]) -> Iterator[RenderableType]:
    facts = {**record, "lineage": " < ".join(record["lineage"])}
    architecture = facts.pop("architecture")
    yield table(("model", facts.pop("model")), ((name, _shown(value)) for name, value in facts.items()))
    yield table(("architecture", ""), architecture.items())


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
