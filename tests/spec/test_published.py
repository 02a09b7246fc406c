"""Parameter counts against those that were published, for every size of every family.

A count agrees with the published number within 1 %, or where it rounds to it at its last printed digit: "13B" stands
for 12.5 to 13.5 billion. Where none of both can be, the table has a note that says why; a note that is not needed is as
wrong as one that is missing. A size whose authors gave no number has an empty one.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from stemma.families import catalogue, family
from stemma.spec import count

HERE = Path(__file__).resolve()
OURS, THEIRS = HERE.with_name("published.csv"), HERE.parents[3] / "shared" / "families.csv"
UNITS = {"M": 10**6, "B": 10**9, "T": 10**12}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


ROWS = read(OURS)


def agree(counted: int, published: str) -> bool:
    """Whether a count is within 1 % of a number such as "6.7B", or rounds to it."""
    number, unit = published[:-1], UNITS[published[-1]]
    value, digit = Fraction(number) * unit, Fraction(unit, 10 ** len(number.partition(".")[2]))
    return abs(counted - value) <= max(value / 100, digit / 2)


@pytest.mark.parametrize(
    ("counted", "published", "wanted"),
    [
        (12_500_000_000, "13B", True),
        (12_499_999_999, "13B", False),
        (6_650_000_000, "6.7B", True),
        (6_630_000_000, "6.7B", False),
        (99_000_000, "100M", True),
        (98_999_999, "100M", False),
    ],
)
def test_the_rule(counted: int, published: str, wanted: bool) -> None:
    assert agree(counted, published) is wanted


def test_every_size_has_a_row() -> None:
    sizes = [(member.name, size) for member in catalogue() for size in member.sizes]
    assert [(row["family"], row["size"]) for row in ROWS] == sizes
    assert all(row["source"] for row in ROWS)


def numbers() -> list[Any]:
    return [pytest.param(row, id=f"{row['family']} {row['size']}") for row in ROWS if row["published"]]


@pytest.mark.parametrize("row", numbers())
def test_the_published_count(row: dict[str, str], figure: Callable[..., None]) -> None:
    counted = count.parameters(family(row["family"]).build(row["size"]))
    if row["note"]:
        figure("differs from what was published", counted=counted, **row)
    assert agree(counted, row["published"]) == (not row["note"]), counted


@pytest.mark.skipif(not THEIRS.is_file(), reason=f"no table of published numbers at {THEIRS}")
def test_both_tables_say_the_same() -> None:
    ours = {(row["family"], row["size"]): row["published"] for row in ROWS}
    theirs = {(row["family"], row["size"]): row["published_as"] for row in read(THEIRS)}
    assert {key: ours[key] for key in theirs} == theirs
