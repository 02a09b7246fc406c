"""Draw the family tree as docs/tree.svg: a column a year, a row a family, a line from its parent.

Run `python docs/draw_tree.py` after a change of the catalogue; a test holds the picture against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from stemma.families import catalogue
from stemma.spec import Family

PICTURE = Path(__file__).with_name("tree.svg")
YEAR_WIDTH, STEP, ROW_HEIGHT, LEFT, TOP, LABEL_WIDTH = 76, 20, 30, 24, 56, 330
COLOURS = {"encoder-only": "#2a7f62", "decoder-only": "#b3541e", "encoder-decoder": "#3b5fc0"}
STYLE = """text{font:13px system-ui,sans-serif;fill:#222}.year,.fact{fill:#666}.year{text-anchor:middle}
.line{fill:none;stroke:#999;stroke-width:1.5}.grid{stroke:#ddd}.name{font-weight:600}
@media(prefers-color-scheme:dark){text{fill:#eee}.year,.fact{fill:#aaa}.grid{stroke:#333}}"""


def rows(families: tuple[Family, ...], parent: Family | None = None) -> Iterator[Family]:
    """The families in the order of their rows: each before its children."""
    for family in families:
        if family.parent is parent:
            yield family
            yield from rows(families, family)


def draw(families: tuple[Family, ...]) -> str:
    """The picture as SVG."""
    order = list(rows(families))
    first, last = min(f.year for f in order), max(f.year for f in order)
    columns: dict[str, int] = {}
    for family in order:
        beside = columns[family.parent.name] + STEP if family.parent else 0
        columns[family.name] = max(LEFT + (family.year - first) * YEAR_WIDTH, beside)
    heights = {family.name: TOP + number * ROW_HEIGHT for number, family in enumerate(order)}
    width = max(columns.values()) + LABEL_WIDTH
    height = TOP + len(order) * ROW_HEIGHT + 24

    parts = []
    for year in range(first, last + 1):
        x = LEFT + (year - first) * YEAR_WIDTH
        parts.append(f'<line class="grid" x1="{x}" y1="32" x2="{x}" y2="{height - 34}"/>')
        parts.append(f'<text class="year" x="{x}" y="22">{year}</text>')
    for family in order:
        x, y = columns[family.name], heights[family.name]
        if family.parent:
            start_x, start_y = columns[family.parent.name], heights[family.parent.name]
            parts.insert(0, f'<path class="line" d="M{start_x} {start_y}V{y}H{x}"/>')
        fact = escape(f"{family.organisation}: {', '.join(family.sizes)}")
        parts.append(f'<circle cx="{x}" cy="{y}" r="6" fill="{COLOURS[family.kind]}"/>')
        parts.append(
            f'<text x="{x + 12}" y="{y + 4}"><tspan class="name">{escape(family.name)}</tspan>'
            f'<tspan class="fact" dx="8">{fact}</tspan></text>'
        )
    for number, (kind, colour) in enumerate(COLOURS.items()):
        x = LEFT + number * 140
        parts.append(f'<circle cx="{x}" cy="{height - 16}" r="6" fill="{colour}"/>')
        parts.append(f'<text class="fact" x="{x + 12}" y="{height - 12}">{kind}</text>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img">\n<title>The family tree of language models</title>\n<style>{STYLE}</style>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(catalogue()), encoding="utf-8")
    print(PICTURE)
