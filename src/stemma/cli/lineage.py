"""`stemma tree`, `stemma diff` and `stemma info`: the families as data, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, table, write
from stemma.errors import Fault

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stemma.spec import Architecture, Family

TREE_EXAMPLES = """Examples:

$ stemma tree

$ stemma tree --svg tree.svg"""

DIFF_EXAMPLES = """Examples:

$ stemma diff gpt2 llama             (two families)

$ stemma diff gpt2:1542M llama:7B    (two sizes)"""

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
    if svg is None:
        from stemma.families.records import text_tree, tree_json

        show(tree_json(), json, lambda _: [text_tree()])
        return
    from stemma.families.picture import tree_svg

    options.check("stemma tree", [options.fresh("--svg", svg)])
    write("stemma tree", "--svg", svg, lambda stream: stream.write(tree_svg().encode()))
    show({"out": str(svg)}, json, lambda result: [result["out"]])


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A family, or FAMILY:SIZE.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another, of the same form.", show_default=False)],
    json: options.Json = False,
) -> None:
    """Show everything in which two families, or two sizes, differ: facts, architecture and sizes."""
    found = [find("A", a), find("B", b)]
    faults = [target for target in found if isinstance(target, Fault)]
    chosen = [target for target in found if not isinstance(target, Fault)]
    if not faults and (chosen[0].size is None) != (chosen[1].size is None):
        faults = [Fault("B", b, f"must name a size where A={a!r} does, and none where it does not", "change one")]
    options.check("stemma diff", faults)
    changes = [{"field": field, "a": _plain(x), "b": _plain(y)} for field, x, y in _changes(*chosen)]
    show({"a": a, "b": b, "changes": changes}, json, _draw_diff)


class Target(NamedTuple):
    """A family, and one of its published sizes where one is named."""

    family: Family
    size: str | None


def find(option: str, text: str) -> Target | Fault:
    """What `FAMILY` or `FAMILY:SIZE` names, or the fault of a text that names nothing."""
    from stemma.families import catalogue

    name, colon, size = text.partition(":")
    known = {family.name: family for family in catalogue()}
    if name not in known:
        return Fault(option, text, "is no family", f"use one of {', '.join(known)}")
    if colon and size not in known[name].sizes:
        return Fault(option, text, f"names no size of {name}", f"use {name}: and one of {', '.join(known[name].sizes)}")
    return Target(known[name], size if colon else None)


def _changes(a: Target, b: Target) -> Iterator[tuple[str, object, object]]:
    """Facts, then fields, then sizes; of two sizes the facts and the fields of their architectures."""
    from stemma.spec import diff as differences

    parts = {*a.family.fields, *b.family.fields}
    sizes: dict[str, tuple[Any, Any]] = {}
    for change in differences(a.family, b.family):
        name = change.path.split(".")[0]
        if name == "sizes":
            sizes[change.path] = (change.before, change.after)
        elif a.size is None or name not in parts:
            yield change.path, change.before, change.after
    if a.size is None:
        yield from _size_changes(sizes)
        return
    for change in differences(a.family.build(a.size), b.family.build(b.size)):
        yield change.path, change.before, change.after


def _size_changes(sizes: Mapping[str, tuple[Any, Any]]) -> Iterator[tuple[str, object, object]]:
    """The names of sizes that one side alone has, and for one that both have the fields that differ."""
    first, second = ([path.removeprefix("sizes.") for path, pair in sizes.items() if not pair[k]] for k in (1, 0))
    if first or second:
        yield "sizes", first, second
    for path, (before, after) in sizes.items():
        if before and after:
            yield path, _those(before, after), _those(after, before)


def _those(side: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of one side that the other does not have alike."""
    return {name: value for name, value in side.items() if name not in other or other[name] != value}


def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A family, or what --model takes.", show_default=False)],
    tokens: Annotated[int, typer.Option("--tokens", help="The length to count operations and cache for.")] = 512,
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Show what a family or a checkpoint holds, and what it costs to run."""
    from stemma.families import catalogue

    options.check("stemma info", [options.readable("MODEL", model), options.at_least("--tokens", tokens, 1)])
    families = {family.name: family for family in catalogue()}
    if model in families and not Path(model).exists():
        from stemma.families.records import tree_json

        show(tree_json((families[model],))[0], json, _draw_family)
        return
    dtype = dtype or "float32"
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
    from stemma.spec import EncoderDecoder, costs, count

    lengths = (tokens, tokens) if isinstance(spec.stacks, EncoderDecoder) else tokens
    return {
        "parameters": count.parameters(spec),
        "dtype": dtype,
        "weight_bytes": costs.weight_bytes(spec, dtype),
        "tokens": tokens,
        "forward_flops": costs.forward_flops(spec, lengths),
        "training_flops": costs.training_flops(spec, lengths),
        "cache_bytes": costs.cache_bytes(spec, lengths, dtype),
    }


def _plain(value: object) -> object:
    """A field as JSON holds it: numbers and words as they are, parts as their constructor reads."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _draw_diff(result: dict[str, Any]) -> Iterator[RenderableType]:
    rows = _folded(result["changes"])
    yield table(("field", result["a"], result["b"]), rows) if rows else f"{result['a']} and {result['b']} do not differ"


def _folded(changes: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of a table; where a part is another one, its fields stand behind its name."""
    rows: dict[str, list[list[str]]] = {}
    for change in changes:
        sides = [_listed(change["a"]), _listed(change["b"])]
        part, _, name = change["field"].rpartition(".")
        if part in rows and not isinstance(change["a"], dict):
            for cell, side in zip(rows[part], sides, strict=True):
                cell += [f"{name}={side}"] if side else []
        else:
            rows[change["field"]] = [[side] for side in sides]
    return [
        [field, *(f"{cell[0]}({', '.join(cell[1:])})" if cell[1:] else cell[0] for cell in cells)]
        for field, cells in rows.items()
    ]


def _listed(value: object) -> str:
    """A change's side in words; nothing where that side has no such field."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={entry}" for name, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


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
