"""The tree as text, as records and as the picture in the documents.

The picture is drawn anew, whenever a family is added, by

    python -c "from stemma.families.picture import tree_svg; print(tree_svg(), end='')" > docs/tree.svg
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from typing import Any, NamedTuple

from stemma.families.catalogue import catalogue
from stemma.spec.count import parameters
from stemma.spec.lineage import Family
from stemma.spec.parts import Decoder, Encoder, EncoderDecoder

Families = tuple[Family, ...]
_TREE: Families = catalogue()

# --- Text and records ------------------------------------------------------------------------------------------------

_SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "vocab_size")
_FACTS = ("year", "organisation", "paper", "kind", "objective", "tokenizer")


class Row(NamedTuple):
    """A family as one line of the tree.

    Args:
        branch: what hangs it on its parent, such as "├─ ".
        family: its name.
        year: of its paper.
        organisation: that published it.
        kind: "encoder-only", "decoder-only" or "encoder-decoder".
        sizes: each published size with its parameters.
    """

    branch: str
    family: str
    year: int
    organisation: str
    kind: str
    sizes: str


def human(number: int) -> str:
    """A count in three figures.

    >>> human(124_439_808), human(6_738_415_616), human(999_999), human(512)
    ('124M', '6.74B', '1M', '512')
    """
    for unit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= 0.9995 * unit:
            return f"{number / unit:.3g}{letter}"
    return str(number)


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
        sizes = ", ".join(f"{name} {human(parameters(family.build(name)))}" for name in family.sizes)
        yield Row(indent + branch, family.name, family.year, family.organisation, family.kind, sizes)
        yield from _rows(families, family, indent + below)


def text_tree(families: Families = _TREE) -> str:
    """The tree in aligned columns.

    >>> print(text_tree(tuple(known for known in catalogue() if known.name in ("transformer", "gpt2"))))
    transformer  2017  Google  encoder-decoder  base 63.1M, big 214M
    └─ gpt2      2019  OpenAI  decoder-only     117M 124M, 345M 355M, 762M 774M, 1542M 1.56B
    """
    lines = [(row.branch + row.family, str(row.year), *row[3:]) for row in tree_rows(families)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def tree_json(families: Families = _TREE) -> list[dict[str, Any]]:
    """What `stemma tree --json` prints: one record a family, with sizes that were not given filled in."""
    records = []
    for family in families:
        built = {name: family.build(name) for name in family.sizes}
        sizes = {
            name: {"parameters": parameters(architecture), **{size: getattr(architecture, size) for size in _SIZES}}
            for name, architecture in built.items()
        }
        facts = {fact: getattr(family, fact) for fact in _FACTS}
        parent = family.parent.name if family.parent else None
        records.append({"family": family.name, "parent": parent, **facts, "sizes": sizes})
    return records


# --- The picture -----------------------------------------------------------------------------------------------------

# From above to below, so that the root lies in the middle.
_LANES = (Encoder.label, EncoderDecoder.label, Decoder.label)
_LEFT, _YEAR, _ROW, _TOP, _FOOT = 180, 180, 84, 54, 54
_GAP, _PAD = 7, 12
_STYLE = """
.card { fill: #ffffff; stroke: #d0d7de } .lane { fill: #f3f5f7 } .rule { stroke: #dfe3e8 }
text { font: 12px system-ui, sans-serif; fill: #57606a } .name { font-size: 15px; font-weight: 600; fill: #1f2328 }
.edge { fill: none; stroke: #8c959f; stroke-width: 1.8 }
.encoder-only { fill: #0969da } .encoder-decoder { fill: #8250df } .decoder-only { fill: #bc4c00 }
.key { fill: #8c959f }
@media (prefers-color-scheme: dark) {
.card { fill: #0d1117; stroke: #30363d } .lane { fill: #161b22 } .rule { stroke: #262c34 }
text { fill: #9da7b3 } .name { fill: #e6edf3 } .edge { stroke: #6e7681 }
.encoder-only { fill: #58a6ff } .encoder-decoder { fill: #b392f0 } .decoder-only { fill: #f0883e }
.key { fill: #6e7681 }
}"""


@dataclass(frozen=True)
class _Node:
    """A family in the picture: where it stands, and the radii of its sizes."""

    family: Family
    x: float
    y: float
    counts: tuple[tuple[str, int], ...]

    @property
    def facts(self) -> str:
        numbers = [number for _, number in self.counts]
        spread = human(min(numbers)) + (f" to {human(max(numbers))}" if len(numbers) > 1 else "")
        return f"{self.family.organisation} · {spread}"

    @property
    def dots(self) -> Iterator[tuple[float, float, str]]:
        """Centre, radius and words of each size, side by side."""
        x = self.x
        for name, number in self.counts:
            radius = _radius(number)
            yield x + radius, radius, f"{self.family.name} {name}: {number:,} parameters"
            x += 2 * radius + _GAP

    @property
    def width(self) -> float:
        centre, radius, _ = list(self.dots)[-1]
        return max(centre + radius - self.x, 6.4 * len(self.facts), 9.0 * len(self.family.name))


def _radius(number: int) -> float:
    """In pixels: 4 for 10M parameters and 4 more for each factor of ten.

    >>> _radius(10**7), _radius(10**9)
    (4.0, 12.0)
    """
    return round(4.0 + 4.0 * max(0.0, math.log10(number / 10**7)), 1)


def tree_svg(families: Families = _TREE) -> str:
    """The tree on an axis of time: one lane a kind, one dot a size, its radius growing with the logarithm of its count.

    It brings its own background in light and dark, and needs no script and no font.
    """
    years = range(min(family.year for family in families), max(family.year for family in families) + 1)
    nodes, bounds, height = _place(families, years[0])
    width = _LEFT + _YEAR * len(years) + 20
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}">',
        "<title>The family tree of language models</title>",
        f"<style>{_STYLE}\n</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
    ]
    for kind, (top, bottom) in bounds.items():
        body.append(f'<rect class="lane" x="10" y="{top}" width="{width - 20}" height="{bottom - top}" rx="6"/>')
        body.append(f'<text class="name" x="22" y="{(top + bottom) / 2 + 5:.0f}">{kind}</text>')
    for year in years:
        x = _LEFT + _YEAR * (year - years[0])
        body.append(f'<line class="rule" x1="{x}" y1="{_TOP - 16}" x2="{x}" y2="{height - _FOOT}"/>')
        body.append(f'<text class="name" x="{x}" y="{_TOP - 24}" text-anchor="middle">{year}</text>')
    body += [_edge(nodes[family.parent.name], nodes[family.name]) for family in families if family.parent]
    body += [line for node in nodes.values() for line in _draw(node)]
    body += _key(height)
    return "\n".join([*body, "</svg>", ""])


def _place(families: Families, first: int) -> tuple[dict[str, _Node], dict[str, tuple[int, int]], int]:
    """Each family on its year, in the first row of its lane where it touches no other."""
    nodes: dict[str, _Node] = {}
    bounds: dict[str, tuple[int, int]] = {}
    top = _TOP
    for kind in _LANES:
        ends: list[float] = []
        for family in (family for family in families if family.kind == kind):
            counts = tuple((name, parameters(family.build(name))) for name in family.sizes)
            node = _Node(family, _LEFT + _PAD + _YEAR * (family.year - first), top + _PAD + _ROW / 2, counts)
            row = next((row for row, end in enumerate(ends) if end < node.x), len(ends))
            ends[row : row + 1] = [node.x + node.width + _PAD]
            nodes[family.name] = replace(node, y=node.y + _ROW * row)
        if ends:
            bounds[kind] = (top, top + 2 * _PAD + _ROW * len(ends))
            top = bounds[kind][1] + 8
    return nodes, bounds, top + _FOOT


def _edge(parent: _Node, child: _Node) -> str:
    """From the parent's last dot to the child's first, or round the left where they stand one above the other."""
    if child.x > parent.x:
        centre, radius, _ = list(parent.dots)[-1]
        start, end = centre + radius + 4, child.x - 5
        # It bends late, so that it keeps clear of the parent's words.
        path = f"M{start:g},{parent.y:g} C{end - 10:g},{parent.y:g} {end - 60:g},{child.y:g} {end:g},{child.y:g}"
    else:
        start = parent.x - 5
        path = f"M{start:g},{parent.y:g} C{start - 34:g},{parent.y:g} {start - 34:g},{child.y:g} {start:g},{child.y:g}"
    return f'<path class="edge" d="{path}"/>'


def _draw(node: _Node) -> Iterator[str]:
    x, y, kind = node.x, node.y, node.family.kind
    yield f'<text class="name" x="{x:g}" y="{y - 24:g}">{escape(node.family.name)}</text>'
    for centre, radius, words in node.dots:
        title = f"<title>{escape(words)}</title>"
        yield f'<circle class="{kind}" cx="{centre:g}" cy="{y:g}" r="{radius:g}">{title}</circle>'
    yield f'<text x="{x:g}" y="{y + 34:g}">{escape(node.facts)}</text>'


def _key(height: int) -> Iterator[str]:
    """What the radii stand for."""
    yield f'<text x="22" y="{height - 22}">parameters</text>'
    for place, number in enumerate((10**7, 10**8, 10**9, 10**10, 10**11)):
        x = _LEFT + 100 * place
        yield f'<circle class="key" cx="{x + 20}" cy="{height - 26}" r="{_radius(number):g}"/>'
        yield f'<text x="{x + 48}" y="{height - 22}">{human(number)}</text>'
