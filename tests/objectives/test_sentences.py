"""Two segments: what stands in them, which are right, and that nothing but the text tells."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.data import Ids, Piece, Row
from stemma.families import BERT, GPT2, ROBERTA
from stemma.objectives import Example, MaskedLM, NextSentence, Objective, Pass, SentenceOrder, Setting, passes
from stemma.spec import Family

from .vocabularies import CLASSED, ENDED, vocabulary

SMALL = dict(n_layers=1, d_model=8, n_heads=2)
KNOWN = vocabulary(3000, CLASSED)
CLS, SEP, LENGTH = 1, 2, 64


def setting(length: int = LENGTH, family: Family = BERT) -> Setting:
    return Setting(KNOWN, length, family.build(**SMALL, vocab_size=KNOWN.size))


def neighbours(n_own: int, n_other: int, key: int = 0) -> Row:
    """Two texts of which no token occurs twice."""
    ids = np.random.default_rng(key).permutation(KNOWN.ordinary)
    return Row((Piece((ids[:n_own],)), Piece((ids[n_own : n_own + n_other],), document=1)), (key,))


def prepared(what: Row, objective: Objective, length: int = LENGTH) -> Example:
    return Pass((objective,)).prepare(what, setting(length))


def segments(example: Example) -> tuple[Ids, Ids]:
    """What stands between the marks."""
    tokens, numbers = example.tokens, example.inputs["segments"]
    assert tokens[0] == CLS
    first, second = tokens[numbers == 0], tokens[numbers == 1]
    assert first[-1] == second[-1] == SEP
    return first[1:-1], second[:-1]


def within(part: Ids, whole: Ids) -> int | None:
    """Where a stretch of a text begins in it."""
    start = np.flatnonzero(whole == part[0]) if len(part) else np.array([], dtype=int)
    return int(start[0]) if len(start) and (whole[start[0] : start[0] + len(part)] == part).all() else None


def test_half_of_the_second_segments_follow() -> None:
    n = 1000
    strange = sum(int(prepared(neighbours(12, 12, key), NextSentence()).targets["sentence"].ids[0]) for key in range(n))
    assert abs(strange / n - 0.5) < 3 * (0.25 / n) ** 0.5


@pytest.mark.parametrize("lengths", [(50, 50), (90, 20), (20, 90), (300, 300), (2, 2)])
def test_what_follows_follows_and_what_does_not_is_anothers(lengths: tuple[int, int]) -> None:
    seen = Counter[int]()
    for key in range(100):
        what = neighbours(*lengths, key)
        example = prepared(what, NextSentence())
        (answer,) = example.targets["sentence"].ids.tolist()
        assert example.targets["sentence"].places.tolist() == [0]
        assert len(example.tokens) <= LENGTH
        first, second = segments(example)
        start = within(first, what.pieces[0].ids)
        assert start is not None
        source = what.pieces[answer].ids
        place = within(second, source)
        assert place is not None
        assert answer == 1 or place == start + len(first)
        seen[answer] += 1
    assert min(seen[0], seen[1]) > 20


def test_lengths_do_not_tell() -> None:
    """The same row with either answer is cut alike."""
    for key in range(200):
        what = neighbours(40 + key % 50, 10 + key % 70, key)
        lengths = {
            tuple(map(len, segments(prepared(what, NextSentence(strangers=share))))) for share in (1e-9, 1 - 1e-9)
        }
        assert len(lengths) == 1


def test_segments_begin_with_words() -> None:
    for key in range(100):
        for objective in (NextSentence(), SentenceOrder()):
            what = neighbours(30, 30, key)
            _, second = segments(prepared(what, objective))
            whole = [piece.ids[0] for piece in what.pieces]
            assert KNOWN.begins[second[0]] or second[0] in whole


def test_half_of_the_orders_are_swapped() -> None:
    n, swapped = 600, 0
    for key in range(n):
        what = neighbours(80, 5, key)
        example = prepared(what, SentenceOrder())
        first, second = segments(example)
        (answer,) = example.targets["order"].ids.tolist()
        earlier, later = (second, first) if answer else (first, second)
        start, place = within(earlier, what.pieces[0].ids), within(later, what.pieces[0].ids)
        assert start is not None
        assert place == start + len(earlier)
        assert len(example.tokens) <= LENGTH
        swapped += answer
    assert abs(swapped / n - 0.5) < 3 * (0.25 / n) ** 0.5


@pytest.mark.parametrize("objective", [NextSentence(), SentenceOrder()], ids=lambda one: one.name)
def test_masks_fall_on_both_segments_and_the_answer_stays(objective: Objective) -> None:
    (both,) = passes((MaskedLM(), objective))
    assert both.name == f"{objective.name}+mlm"
    assert both.reads == "neighbours"
    for key in range(20):
        what = neighbours(60, 60, key)
        example, alone = both.prepare(what, setting()), prepared(what, objective)
        restored = example.tokens.copy()
        restored[example.targets["masked"].places] = example.targets["masked"].ids
        assert (restored == alone.tokens).all()
        term = next(iter(alone.targets))
        assert (example.targets[term].ids == alone.targets[term].ids).all()
        assert (example.inputs["segments"] == alone.inputs["segments"]).all()


def test_each_term_has_the_weight_of_its_objective() -> None:
    (both,) = passes((NextSentence(weight=0.5), MaskedLM(weight=2.0)))
    assert (both.weight("sentence"), both.weight("masked")) == (0.5, 2.0)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(5, 64), st.integers(0, 999))
def test_any_two_texts_fit(n_own: int, n_other: int, length: int, key: int) -> None:
    for objective in (NextSentence(), SentenceOrder()):
        example = prepared(neighbours(n_own, n_other, key), objective, length)
        assert len(example.tokens) == len(example.inputs["segments"]) <= length
        segments(example)


def test_a_full_row_is_filled() -> None:
    assert len(prepared(neighbours(500, 500), SentenceOrder()).tokens) == LENGTH


@pytest.mark.parametrize(
    ("family", "roles", "length", "words"),
    [
        (GPT2, CLASSED, 64, ["vectors of two segments", "head for two segments"]),
        (ROBERTA, CLASSED, 64, ["vectors of two segments", "head for two segments"]),
        (BERT, ENDED, 64, ["token that is cls", "token that is sep"]),
        (BERT, CLASSED, 4, ["more than 4 tokens"]),
    ],
)
def test_what_is_lacking_is_named(family: Family, roles: object, length: int, words: list[str]) -> None:
    known = vocabulary(50, roles)  # type: ignore[arg-type]
    faults = NextSentence().faults(Setting(known, length, family.build(**SMALL, vocab_size=50)))
    assert len(faults) == len(words)
    assert all(word in str(fault) for word, fault in zip(words, faults, strict=True))
