"""The tree as a picture: complete, up to date, and legible however many families there are."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from stemma.families import BERT, GPT, LLAMA2, T5, TRANSFORMER, catalogue
from stemma.families.picture import radius, tree_svg
from stemma.spec import Decoder, Embedding, Encoder, EncoderDecoder, Family, Sinusoidal, SlidingWindow

SVG = "{http://www.w3.org/2000/svg}"
WIDE = LLAMA2.derive("<wide & far>", year=2031, attention=SlidingWindow(4096))


def grown() -> tuple[Family, ...]:
    """Forty-five more families, of every kind of stacks, with one to eight sizes from 10M to 400B parameters."""
    families = [TRANSFORMER, BERT, T5, GPT]
    for number in range(45):
        parent = families[(5 * number + number // 3) % len(families)]
        stacks = (EncoderDecoder(), Encoder(), Decoder())[number % 3] if number % 4 == 0 else parent.traits["stacks"]
        widths = [256 << step for step in range(number % 8 + 1)]
        child = parent.derive(
            f"family-{number}" + "-of-a-long-name" * (number % 2),
            year=min(parent.year + number % 3, 2024),
            organisation="A laboratory" + ", and another one" * (number % 3),
            sizes={str(w): dict(n_layers=8, d_model=w, n_heads=8, vocab_size=32_000) for w in widths},
            **dict(stacks=stacks, heads=(), position=Sinusoidal(), embedding=Embedding()),
        )
        families.append(child)
    return tuple(families)


TREES = {"catalogue": catalogue(), "grown": grown()}
each_tree = pytest.mark.parametrize("families", TREES.values(), ids=TREES)


class Box(NamedTuple):
    """A rectangle in the picture, and the family that it belongs to."""

    family: str
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


class Drawn:
    """What a picture shows: dots and words as boxes, lines as points."""

    def __init__(self, families: tuple[Family, ...]) -> None:
        self.root = ElementTree.fromstring(tree_svg(families))
        self.width, self.height = float(self.root.get("width", 0)), float(self.root.get("height", 0))
        self.dots: dict[str, list[Box]] = {family.name: [] for family in families}
        for circle in self.root.iter(f"{SVG}circle"):
            for tip in circle:
                x, y, r = (float(circle.get(name, 0)) for name in ("cx", "cy", "r"))
                name = max((name for name in self.dots if (tip.text or "").startswith(f"{name} ")), key=len)
                self.dots[name].append(Box(name, x - r, y - r, x + r, y + r))
        self.words: dict[str, Box] = {}
        for text in self.root.iter(f"{SVG}text"):
            if text.get("class") == "label":
                name, facts = (span.text or "" for span in text)
                x, y = float(text.get("x", 0)), float(text.get("y", 0))
                # Letters of 14 and 12 pixels are at most about 0.55 em wide on the average.
                self.words[name] = Box(name, x, y - 11, x + 7.7 * len(name) + 8 + 6.2 * len(facts), y + 4)
        lines = [points(path.get("d", "")) for path in self.root.iter(f"{SVG}path")]
        children = [family for family in families if family.parent]
        self.lines = {child.name: line for child, line in zip(children, lines, strict=True)}


def points(path: str) -> list[tuple[float, float]]:
    """The corners of a path of M, H, V and relative q."""
    x = y = 0.0
    found = []
    for command, numbers in re.findall(r"([MHVq])([-\d., ]+)", path):
        values = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
        match command:
            case "M":
                x, y = values
            case "H":
                (x,) = values
            case "V":
                (y,) = values
            case _:
                x, y = x + values[2], y + values[3]
        found.append((x, y))
    return found


@each_tree
def test_nothing_in_the_picture_overlaps(families: tuple[Family, ...]) -> None:
    drawn = Drawn(families)
    boxes = [*(dot for dots in drawn.dots.values() for dot in dots), *drawn.words.values()]
    assert len(boxes) == sum(len(family.sizes) for family in families) + len(families)
    for place, box in enumerate(boxes):
        assert 0 < box.left < box.right < drawn.width
        assert 0 < box.top < box.bottom < drawn.height
        assert [other for other in boxes[:place] if box.meets(other)] == []


@each_tree
def test_lines_lead_from_parents_to_children(families: tuple[Family, ...]) -> None:
    drawn = Drawn(families)
    for child in (family for family in families if family.parent):
        assert child.parent is not None
        line = drawn.lines[child.name]
        for (x, y), box in ((line[0], drawn.dots[child.parent.name][0]), (line[-1], drawn.dots[child.name][0])):
            centre, middle, size = (box.left + box.right) / 2, (box.top + box.bottom) / 2, (box.right - box.left) / 2
            assert -0.01 < ((x - centre) ** 2 + (y - middle) ** 2) ** 0.5 - size < 1.2


@each_tree
def test_lines_inside_a_lane_cross_nothing_and_others_no_first_dot(families: tuple[Family, ...]) -> None:
    drawn = Drawn(families)
    first = [dots[0] for dots in drawn.dots.values()]
    everything = [*(dot for dots in drawn.dots.values() for dot in dots), *drawn.words.values()]
    for child in (family for family in families if family.parent and family.parent.year <= family.year):
        assert child.parent is not None
        boxes = everything if child.kind == child.parent.kind else first
        ours = {child.name, child.parent.name}
        line = drawn.lines[child.name]
        for (x, y), (u, v) in pairwise(line):
            segment = Box("", min(x, u) - 0.5, min(y, v) - 0.5, max(x, u) + 0.5, max(y, v) + 0.5)
            assert [box for box in boxes if box.family not in ours and box.meets(segment)] == []


def test_a_child_older_than_its_parent_is_reached_too() -> None:
    early = GPT.derive("early", year=2018)
    families = (TRANSFORMER, GPT, early, GPT.derive("late", year=2020))
    test_lines_lead_from_parents_to_children(families)
    test_nothing_in_the_picture_overlaps(families)


def test_time_runs_from_left_to_right() -> None:
    drawn = Drawn(TREES["grown"])
    years = {
        int(text.text or 0): float(text.get("x", 0))
        for text in drawn.root.iter(f"{SVG}text")
        if (text.text or "").isdigit()
    }
    assert list(years) == list(range(2017, 2025))
    for family in TREES["grown"]:
        first = drawn.dots[family.name][0]
        centre = (first.left + first.right) / 2
        assert years[family.year] < centre < years.get(family.year + 1, drawn.width)


def test_lanes_stand_in_their_order_and_hold_their_families() -> None:
    drawn = Drawn(TREES["grown"])
    lanes = [box for box in drawn.root.iter(f"{SVG}rect") if box.get("class") == "lane"]
    names = [text.text or "" for text in drawn.root.iter(f"{SVG}text") if (text.get("class") or "").startswith("name ")]
    assert names == ["encoder-only", "encoder-decoder", "decoder-only"]
    spans = {
        name: (float(lane.get("y", 0)), float(lane.get("y", 0)) + float(lane.get("height", 0)))
        for name, lane in zip(names, lanes, strict=True)
    }
    for family in TREES["grown"]:
        top, bottom = spans[family.kind]
        assert all(top < dot.top < dot.bottom < bottom for dot in drawn.dots[family.name])


def test_every_kind_of_the_catalogue_has_a_colour() -> None:
    style = tree_svg().split("</style>")[0]
    assert all(style.count(f".{family.kind} {{ fill:") == 2 for family in catalogue())


def test_the_picture_in_the_documents_is_up_to_date() -> None:
    drawn = Path(__file__).resolve().parents[2] / "docs" / "tree.svg"
    assert drawn.read_text(encoding="utf-8") == tree_svg(), "draw it anew: rm it, then stemma tree --svg docs/tree.svg"


def test_the_picture_has_every_family_every_size_and_every_year() -> None:
    families = (*catalogue(), WIDE)
    root = ElementTree.fromstring(tree_svg(families))
    words = [text.text for tag in ("text", "tspan") for text in root.iter(f"{SVG}{tag}")]
    assert {family.name for family in families} <= set(words)
    assert {"2017", "2031", "encoder-only", "encoder-decoder", "decoder-only"} <= set(words)
    tips = [tip.text for circle in root.iter(f"{SVG}circle") for tip in circle]
    assert len(tips) == sum(len(family.sizes) for family in families)
    assert "gpt2 117M: 124,439,808 parameters" in tips
    assert len(list(root.iter(f"{SVG}path"))) == sum(family.parent is not None for family in families)


def test_dots_grow_with_the_logarithm() -> None:
    steps = [radius(10**power) - radius(10 ** (power - 1)) for power in range(8, 14)]
    assert steps == pytest.approx([steps[0]] * len(steps), abs=0.11)
    assert steps[0] > 2
    assert radius(1) == radius(10**7) > 0
    root = ElementTree.fromstring(tree_svg())
    for circle in root.iter(f"{SVG}circle"):
        for tip in circle:
            number = int(re.sub(r"\D", "", (tip.text or "").split(":")[1]))
            assert float(circle.get("r", 0)) == radius(number)


def test_a_lane_without_a_family_is_left_out() -> None:
    drawn = tree_svg((TRANSFORMER, GPT))
    assert ">encoder-only<" not in drawn
    assert ">encoder-only<" in tree_svg((TRANSFORMER, BERT))
