"""The tree and its families as text and as records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from stemma.families.catalogue import catalogue
from stemma.spec import costs, count, recurrent
from stemma.spec.lineage import Family, Shape
from stemma.spec.parts import EncoderDecoder
from stemma.spec.recurrent import Recurrent

Families = tuple[Family, ...]
_TREE: Families = catalogue()

UNPUBLISHED = "not published"
USUAL_LENGTH = 512
"""Tokens that costs are counted for where a family's paper states no context."""

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "vocab_size")
_FACTS = ("year", "organisation", "paper", "kind", "objective", "tokenizer")


def human(number: int) -> str:
    """A count in three figures.

    >>> human(124_439_808), human(6_738_415_616), human(999_999), human(512)
    ('124M', '6.74B', '1M', '512')
    """
    for unit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= 0.9995 * unit:
            return f"{number / unit:.3g}{letter}"
    return str(number)


def metric(number: float, unit: str) -> str:
    """A quantity in three figures with a prefix of the metric system.

    >>> metric(13_476_831_232, "B"), metric(999_999, "FLOP"), metric(0, "B")
    ('13.5 GB', '1 MFLOP', '0 B')
    """
    power = 0
    while number >= 999.5 and power < len(_PREFIXES) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.3g} {_PREFIXES[power]}{unit}"


# --- The tree --------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A family as one line of the tree.

    Args:
        branch: what hangs it on its parent, such as "├─ ".
        family: its name.
        year: of its paper.
        organisation: that published it.
        kind: what stacks it has, such as "decoder-only".
        sizes: each published size with its parameters.
    """

    branch: str
    family: str
    year: int
    organisation: str
    kind: str
    sizes: str


def tree_rows(families: Families = _TREE) -> list[Row]:
    """Every family below its parent, in the order of the catalogue.

    Args:
        families: parents before their children.
    """
    return list(_rows(families, None, ""))


def _rows(families: Families, parent: Family | None, indent: str) -> Iterator[Row]:
    children = [family for family in families if family.parent is parent]
    for family in children:
        last = family is children[-1]
        branch, below = ("", "") if parent is None else ("└─ ", "   ") if last else ("├─ ", "│  ")
        sizes = ", ".join(f"{name} {human(number)}" for name, number in parameters(family).items())
        yield Row(indent + branch, family.name, family.year, family.organisation, family.kind, sizes)
        yield from _rows(families, family, indent + below)


def parameters(family: Family) -> dict[str, int]:
    """The parameters of each published size."""
    return {name: count.parameters(family.build(name)) for name in family.sizes}


def text_tree(families: Families = _TREE) -> str:
    """The tree in aligned columns.

    >>> print(text_tree(tuple(known for known in catalogue() if known.name in ("transformer", "gpt"))))
    transformer  2017  Google  encoder-decoder  base 63.1M, big 214M
    └─ gpt       2018  OpenAI  decoder-only     117M 117M
    """
    lines = [(row.branch + row.family, str(row.year), *row[3:]) for row in tree_rows(families)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def tree_json(families: Families = _TREE) -> list[dict[str, Any]]:
    """What `stemma tree --json` prints: one record a family, with sizes that were not given filled in."""
    return [
        {
            "family": family.name,
            "parent": family.parent.name if family.parent else None,
            **{fact: getattr(family, fact) for fact in _FACTS},
            "sizes": {name: _size(family.build(name)) for name in family.sizes},
        }
        for family in families
    ]


def _size(architecture: Shape) -> dict[str, int]:
    """The parameters and those of the usual sizes that the architecture has."""
    known = {size: getattr(architecture, size) for size in _SIZES if getattr(architecture, size, 0)}
    return {"parameters": count.parameters(architecture), **known}


# --- One family ------------------------------------------------------------------------------------------------------


def card(family: Family, size: str | None = None, dtype: str = "bfloat16") -> dict[str, Any]:
    """What `stemma card --json` prints: the paper's facts, and what each size costs.

    Operations are the mean over the tokens of one sequence as long as the context, or `USUAL_LENGTH` where none is
    published; with two stacks the source and the target are each as long. Backwards costs twice forwards (Hoffmann et
    al. 2022, appendix F). Cache is what one more token adds.

    Args:
        family: whose card it is.
        size: one of its published sizes; all of them where None.
        dtype: that weights and cache are held as.

    Raises:
        SpecError: for a size that the family does not have.
        InputError: for a dtype that is unknown.
    """
    length = family.context or USUAL_LENGTH
    facts = {fact: getattr(family, fact) or UNPUBLISHED for fact in (*_FACTS, "data", "context")}
    sizes = {name: _costs(family.build(name), length, dtype) for name in ([size] if size else family.sizes)}
    return {
        "family": family.name,
        "lineage": [ancestor.name for ancestor in family.ancestors],
        **facts,
        "length": length,
        "dtype": dtype,
        "sizes": sizes,
    }


def _costs(architecture: Shape, length: int, dtype: str) -> dict[str, Any]:
    """Of one size; a recurrent network costs the same at every token, and its state does not grow."""
    table = {part: number for part, number in count.parameter_table(architecture).items() if number}
    match architecture:
        case Recurrent():
            forward, tokens, cache = recurrent.forward_flops(architecture, 1), 1, 0
        case _ if isinstance(architecture.stacks, EncoderDecoder):
            forward, tokens = costs.forward_flops(architecture, (length, length)), 2 * length
            cache = costs.cache_bytes(architecture, (0, 1), dtype)
        case _:
            forward, tokens = costs.forward_flops(architecture, length), length
            cache = costs.cache_bytes(architecture, 1, dtype)
    return {
        "parameters": sum(table.values()),
        "parameters_by_part": table,
        "weight_bytes": costs.weight_bytes(architecture, dtype),
        "forward_flops_per_token": forward // tokens,
        "training_flops_per_token": 3 * forward // tokens,
        "cache_bytes_per_token": cache,
    }
