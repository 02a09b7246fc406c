"""The tree as the picture in the documents.

Time runs from left to right. A lane holds the families of one kind, a row one family, a dot one size. The rows of a
lane stand in the order in which a walk down the tree meets them. So a line that leaves its parent's first dot downwards
and turns into the child's row meets no word. One that leads to another lane runs beside the dots of the parent's year.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from stemma.families.catalogue import catalogue
from stemma.families.records import Families, human, parameters
from stemma.spec.lineage import Family

_TREE: Families = catalogue()

# From above to below, with the colours of dots in light and in dark: the root stands in the middle.
_LANES = {
    "recurrent": ("#1a7f37", "#3fb950"),
    "encoder-only": ("#0969da", "#58a6ff"),
    "permutation": ("#bf3989", "#f778ba"),
    "encoder-decoder": ("#8250df", "#b392f0"),
    "decoder-only": ("#bc4c00", "#f0883e"),
}
_LEFT, _YEAR, _INDENT, _ROW = 196, 104, 22, 30
_TOP, _FOOT, _PAD, _MARGIN, _GAP, _TURN = 44, 92, 8, 10, 3, 8
_RULE, _BESIDE = 28, (17, 20.5, 24)  # how far before a year's first dots stand its line and lines to other lanes
_NAME, _FACT = 8.2, 6.6  # pixels that a letter may take: system fonts differ
_LONGEST = 26


def _styles() -> Iterator[str]:
    yield ".card { fill: #ffffff; stroke: #d0d7de } .lane { fill: #f6f8fa } .rule { stroke: #d8dee4 }"
    yield "text { font: 12px system-ui, sans-serif; fill: #57606a }"
    yield ".label { paint-order: stroke; stroke: #f6f8fa; stroke-width: 3px }"
    yield ".name { font-size: 14px; font-weight: 600; fill: #1f2328 }"
    yield ".edge { fill: none; stroke: #8c959f; stroke-width: 1.5 } .key { fill: #8c959f }"
    yield from (f".{kind} {{ fill: {light} }}" for kind, (light, _) in _LANES.items())
    yield "@media (prefers-color-scheme: dark) {"
    yield ".card { fill: #0d1117; stroke: #30363d } .lane { fill: #161b22 } .rule { stroke: #2b323b }"
    yield "text { fill: #9da7b3 } .label { stroke: #161b22 } .name { fill: #e6edf3 }"
    yield ".edge { stroke: #6e7681 } .key { fill: #6e7681 }"
    yield from (f".{kind} {{ fill: {dark} }}" for kind, (_, dark) in _LANES.items())
    yield "}"


class _Axis(NamedTuple):
    """Time: its years and the width of one, which holds the longest row of ancestors of one year."""

    years: range
    step: int

    def x(self, year: int, depth: int = 0) -> float:
        """Where the first dot of a family stands that has so many ancestors of its own year in a row."""
        return _LEFT + self.step * (year - self.years[0]) + _INDENT * depth


class _Dot(NamedTuple):
    """A size: the centre and the radius in pixels, and what it stands for."""

    x: float
    radius: float
    words: str


@dataclass(frozen=True)
class _Node:
    """A family in the picture.

    Args:
        family: which one.
        x: centre of its first dot, in pixels.
        y: middle of its row.
        dots: its sizes from left to right.
        facts: what stands behind its name.
    """

    family: Family
    x: float
    y: float
    dots: tuple[_Dot, ...]
    facts: str

    @property
    def words_at(self) -> float:
        """Where its name begins."""
        return self.dots[-1].x + self.dots[-1].radius + 7

    @property
    def end(self) -> float:
        """Where its words end at the latest."""
        return self.words_at + _NAME * len(self.family.name) + 8 + _FACT * len(self.facts)


class _Lane(NamedTuple):
    """The band of one kind, between two heights."""

    kind: str
    top: float
    bottom: float


def radius(number: int) -> float:
    """Of a dot, in pixels: 3 for 10M parameters and below, and 2.3 more for each factor of ten.

    >>> radius(10**6), radius(10**7), radius(10**9)
    (3.0, 3.0, 7.6)
    """
    return round(3.0 + 2.3 * max(0.0, math.log10(max(number, 1) / 10**7)), 1)


def tree_svg(families: Families = _TREE) -> str:
    """The tree on an axis of time: one lane a kind, one dot a size, its radius growing with the logarithm of its count.

    It brings its own background in light and dark, and needs no script and no font.

    Args:
        families: parents before their children.
    """
    axis = _axis(families)
    nodes, lanes = _place(families, axis)
    beside = _besides(families, axis)
    bottom = lanes[-1].bottom
    width = math.ceil(max(axis.x(axis.years.stop), *(node.end for node in nodes.values())) + 2 * _MARGIN)
    height = math.ceil(bottom + _FOOT)
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}">',
        "<title>The family tree of language models</title>",
        "<style>",
        *_styles(),
        "</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        *(line for lane in lanes for line in _draw_lane(lane, width)),
        *(line for year in axis.years for line in _draw_year(year, axis.x(year) - _RULE, bottom)),
        *(_edge(nodes[child.parent.name], nodes[child.name], beside) for child in families if child.parent),
        *(line for node in nodes.values() for line in _draw(node)),
        *_key(height),
        "</svg>",
    ]
    return "\n".join([*body, ""])


def _axis(families: Families) -> _Axis:
    years = [family.year for family in families]
    deepest = max(map(_depth, families))
    return _Axis(range(min(years), max(years) + 1), max(_YEAR, _INDENT * (deepest + 2)))


def _place(families: Families, axis: _Axis) -> tuple[dict[str, _Node], list[_Lane]]:
    """Every family in a row of its own below the one that a walk down its lane's trees meets before it."""
    nodes: dict[str, _Node] = {}
    lanes: list[_Lane] = []
    top: float = _TOP
    for kind in dict.fromkeys((*_LANES, *(family.kind for family in families))):
        y = top + _PAD + _ROW / 2
        for family in _walk(tuple(family for family in families if family.kind == kind)):
            nodes[family.name] = _node(family, axis.x(family.year, _depth(family)), y)
            y += _ROW
        if y > top + _PAD + _ROW:
            lanes.append(_Lane(kind, top, y - _ROW / 2 + _PAD))
            top = lanes[-1].bottom + _PAD
    return nodes, lanes


def _walk(lane: Families) -> Iterator[Family]:
    """Parents before their children, the older child first; a family whose parent stands in another lane is a root."""

    def below(family: Family) -> Iterator[Family]:
        yield family
        for child in sorted((child for child in lane if child.parent is family), key=lambda child: child.year):
            yield from below(child)

    here = {family.name for family in lane}
    roots = (family for family in lane if family.parent is None or family.parent.name not in here)
    for root in sorted(roots, key=lambda root: root.year):
        yield from below(root)


def _depth(family: Family) -> int:
    """How many ancestors in a row are of its own year: each moves it to the right."""
    return 1 + _depth(family.parent) if family.parent and family.parent.year == family.year else 0


def _node(family: Family, x: float, y: float) -> _Node:
    counts = parameters(family)
    dots: list[_Dot] = []
    for name, number in counts.items():
        size = radius(number)
        centre = dots[-1].x + dots[-1].radius + _GAP + size if dots else x
        dots.append(_Dot(round(centre, 1), size, f"{family.name} {name}: {number:,} parameters"))
    low, high = human(min(counts.values())), human(max(counts.values()))
    who = family.organisation if len(family.organisation) <= _LONGEST else family.organisation[: _LONGEST - 1] + "…"
    return _Node(family, x, y, tuple(dots), f"{who} · {low}" + (f" to {high}" if high != low else ""))


def _besides(families: Families, axis: _Axis) -> dict[str, float]:
    """Where the lines of each family run that has children in other lanes: those of one year beside each other."""
    found: dict[str, float] = {}
    for year in axis.years:
        pairs = ((child.parent, child) for child in families if child.parent and child.parent.year == year)
        leaving = dict.fromkeys(parent.name for parent, child in pairs if parent.kind != child.kind)
        found |= {name: axis.x(year) - _BESIDE[place % len(_BESIDE)] for place, name in enumerate(leaving)}
    return found


def _edge(parent: _Node, child: _Node, besides: Mapping[str, float]) -> str:
    """From below or above the parent's first dot into the child's row; to an older child, round between the rows."""
    down = 1 if child.y > parent.y else -1
    turn, end = down * _TURN, child.x - child.dots[0].radius - 1
    path = [f"M{parent.x:g},{parent.y + down * parent.dots[0].radius:g}"]
    if child.x < parent.x:
        top = child.y - down * (child.dots[0].radius + 1)
        path += [f"V{child.y - down * _ROW / 2:g}", f"H{child.x:g}", f"V{top:g}"]
        return f'<path class="edge" d="{" ".join(path)}"/>'
    if child.family.kind != parent.family.kind:
        beside = besides[parent.family.name]
        path += [f"V{parent.y + down * _ROW / 2 - turn:g}", f"q0,{turn} {-_TURN},{turn}"]
        path += [f"H{beside + _TURN:g}", f"q{-_TURN},0 {-_TURN},{turn}"]
    path += [f"V{child.y - turn:g}", f"q0,{turn} {_TURN},{turn}", f"H{end:g}"]
    return f'<path class="edge" d="{" ".join(path)}"/>'


def _draw_lane(lane: _Lane, width: int) -> Iterator[str]:
    box = f'x="{_MARGIN}" y="{lane.top:g}" width="{width - 2 * _MARGIN}" height="{lane.bottom - lane.top:g}"'
    yield f'<rect class="lane" {box} rx="6"/>'
    yield f'<text class="name {lane.kind}" x="20" y="{lane.top + _PAD + _ROW / 2 + 5:g}">{lane.kind}</text>'


def _draw_year(year: int, x: float, bottom: float) -> Iterator[str]:
    yield f'<line class="rule" x1="{x:g}" y1="{_TOP - 8}" x2="{x:g}" y2="{bottom + 8:g}"/>'
    for y in (_TOP - 16, bottom + 24):
        yield f'<text class="name" x="{x:g}" y="{y:g}" text-anchor="middle">{year}</text>'


def _draw(node: _Node) -> Iterator[str]:
    for dot in node.dots:
        shape = f'class="{node.family.kind}" cx="{dot.x:g}" cy="{node.y:g}" r="{dot.radius:g}"'
        yield f"<circle {shape}><title>{escape(dot.words)}</title></circle>"
    name = f'<tspan class="name">{escape(node.family.name)}</tspan>'
    facts = f'<tspan dx="8">{escape(node.facts)}</tspan>'
    yield f'<text class="label" x="{node.words_at:g}" y="{node.y + 4.5:g}">{name}{facts}</text>'


def _key(height: int) -> Iterator[str]:
    """What the radii stand for."""
    y = height - 26
    yield f'<text x="20" y="{y + 4}">parameters</text>'
    for place, power in enumerate(range(7, 13)):
        x = _LEFT + 80 * place
        yield f'<circle class="key" cx="{x}" cy="{y}" r="{radius(10**power):g}"/>'
        yield f'<text x="{x + 20}" y="{y + 4}">{human(10**power)}</text>'
    words = "the radius grows with their logarithm; a family of its parent’s year stands indented"
    yield f'<text x="{_LEFT + 490}" y="{y + 4}">{words}</text>'
