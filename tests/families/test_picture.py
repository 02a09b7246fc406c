"""The tree as text, as records and as a picture that is up to date."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stemma.families import BERT, GPT2, LLAMA2, TRANSFORMER, catalogue
from stemma.families.picture import human, text_tree, tree_json, tree_rows, tree_svg
from stemma.spec import SlidingWindow, count

SVG = "{http://www.w3.org/2000/svg}"
WIDE = LLAMA2.derive("<wide & far>", year=2031, attention=SlidingWindow(4096))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1K"),
        (999_499, "999K"),
        (999_500, "1M"),
        (1_557_611_200, "1.56B"),
        (10**12, "1T"),
    ],
)
def test_three_figures(number: int, words: str) -> None:
    assert human(number) == words


def test_rows_hang_on_their_parents() -> None:
    rows = tree_rows()
    assert [row.family for row in rows if not row.branch] == ["transformer"]
    assert sorted(row.family for row in rows) == sorted(family.name for family in catalogue())
    lines = text_tree().splitlines()
    parents = {family.name: family.parent.name for family in catalogue() if family.parent}
    for child, parent in parents.items():
        above = next(place for place, row in enumerate(rows) if row.family == parent)
        below = next(place for place, row in enumerate(rows) if row.family == child)
        depth = lines[above].index(parent)
        assert above < below
        assert lines[below].index(child) == depth + 3
        assert {line[depth] for line in lines[above + 1 : below]} <= set("├│")
        assert lines[below][depth] in "├└"


def test_a_line_tells_the_family_s_facts() -> None:
    line = next(line for line in text_tree().splitlines() if "gpt2" in line)
    for words in ("2019", "OpenAI", "decoder-only", "117M 124M, 345M 355M, 762M 774M, 1542M 1.56B"):
        assert words in line


def test_records_are_the_contract() -> None:
    records = {record["family"]: record for record in tree_json()}
    keys = ["family", "parent", "year", "organisation", "paper", "kind", "objective", "tokenizer", "sizes"]
    assert all(list(record) == keys for record in records.values())
    assert list(records) == [family.name for family in catalogue()]
    assert records["transformer"]["parent"] is None
    assert records["llama2"] == {
        "family": "llama2",
        "parent": "llama",
        "year": 2023,
        "organisation": "Meta AI",
        "paper": "arXiv:2307.09288",
        "kind": "decoder-only",
        "objective": "next token",
        "tokenizer": LLAMA2.tokenizer,
        "sizes": {
            size: {
                "parameters": count.parameters(LLAMA2.build(size)),
                "n_layers": n_layers,
                "d_model": d_model,
                "n_heads": n_heads,
                "n_kv_heads": n_kv_heads,
                "d_ff": d_ff,
                "vocab_size": 32_000,
            }
            for size, n_layers, d_model, n_heads, n_kv_heads, d_ff in (
                ("7B", 32, 4096, 32, 32, 11_008),
                ("13B", 40, 5120, 40, 40, 13_824),
                ("70B", 80, 8192, 64, 8, 28_672),
            )
        },
    }


def test_the_picture_in_the_documents_is_up_to_date() -> None:
    drawn = Path(__file__).resolve().parents[2] / "docs" / "tree.svg"
    assert drawn.read_text(encoding="utf-8") == tree_svg(), "draw it anew: see stemma.families.picture"


def test_the_picture_has_every_family_every_size_and_every_branch() -> None:
    families = (*catalogue(), WIDE)
    root = ElementTree.fromstring(tree_svg(families))
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {family.name for family in families} <= set(words)
    assert {"2017", "2031", "encoder-only", "encoder-decoder", "decoder-only"} <= set(words)
    tips = [tip.text for circle in root.iter(f"{SVG}circle") for tip in circle]
    assert len(tips) == sum(len(family.sizes) for family in families)
    assert "gpt2 117M: 124,439,808 parameters" in tips
    assert len(list(root.iter(f"{SVG}path"))) == len(families) - 1


def test_dots_grow_with_the_logarithm() -> None:
    root = ElementTree.fromstring(tree_svg())
    radius = {
        int(re.sub(r"\D", "", (tip.text or "").split(":")[1])): float(circle.get("r", 0))
        for circle in root.iter(f"{SVG}circle")
        for tip in circle
    }
    assert [radius[number] for number in sorted(radius)] == sorted(radius.values())
    assert max(radius.values()) < 3 * min(radius.values())


def test_nothing_in_the_picture_overlaps() -> None:
    """Dots of one row keep apart, and all of them stay on the card."""
    root = ElementTree.fromstring(tree_svg())
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    dots = [tuple(float(circle.get(name, 0)) for name in ("cx", "cy", "r")) for circle in root.iter(f"{SVG}circle")]
    for place, (x, y, r) in enumerate(dots):
        assert r < x < width - r
        assert r < y < height - r
        assert all((x - u) ** 2 + (y - v) ** 2 > (r + s) ** 2 for u, v, s in dots[:place])


def test_a_lane_without_a_family_is_left_out() -> None:
    drawn = tree_svg((TRANSFORMER, GPT2))
    assert ">encoder-only<" not in drawn
    assert ">encoder-only<" in tree_svg((TRANSFORMER, BERT))
