"""Masked tokens, words and spans: how many, which, what is seen of them, and that nothing is told."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.data import Frame, Ids, Row
from stemma.families import BERT, ERNIE3, GPT2, SPANBERT
from stemma.objectives import Example, MaskedLM, NextSentence, Pass, Setting, SpanLM, Vocabulary, WholeWordLM, passes
from stemma.spec import Family
from stemma.text import Roles

from .vocabularies import CLASSED, document, row, texts, vocabulary

SMALL = dict(n_layers=1, d_model=8, n_heads=2)
KNOWN = vocabulary(2000, CLASSED)
FRAME = Frame((1,), (2,))
MASK, LENGTH = 3, 4000

each_kind = pytest.mark.parametrize("kind", [MaskedLM, WholeWordLM, SpanLM], ids=lambda kind: kind.name)


def setting(known: Vocabulary = KNOWN, family: Family = BERT) -> Setting:
    return Setting(known, LENGTH + 2, family.build(**SMALL, vocab_size=known.size))


def prepared(text: Ids, objective: MaskedLM, key: int = 0, family: Family = BERT) -> Example:
    return Pass((objective,)).prepare(row(text, FRAME, (0, 0, key)), setting(family=family))


def many(objective: MaskedLM, n_tokens: int = 1_000_000) -> list[tuple[Ids, Example]]:
    """Rows of so many tokens, each as it was and as it is seen."""
    return [
        (np.array([*FRAME.before, *text, *FRAME.after]), prepared(text, objective, key))
        for key, text in enumerate(texts(KNOWN, n_tokens, LENGTH))
    ]


def runs(places: Ids) -> list[Ids]:
    """Places in groups of neighbours."""
    return np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)


@pytest.mark.slow
@each_kind
@pytest.mark.parametrize("exact", [True, False])
def test_the_rate_over_a_million_tokens(kind: type[MaskedLM], exact: bool) -> None:
    rows = many(kind(exact=exact))
    asked, total = sum(len(example.targets["masked"].ids) for _, example in rows), LENGTH * len(rows)
    # Tokens of a word come together, of which there are two to a word here.
    together = 1 if kind is MaskedLM else 3
    deviation = (together * 0.15 * 0.85 / total) ** 0.5
    assert abs(asked / total - 0.15) < 3 * deviation


def test_an_exact_number_is_that_of_berts_code() -> None:
    numbers = {n: len(prepared(np.full(n, 10), MaskedLM()).targets["masked"].ids) for n in (1, 2, 9, 10, 20, 128, 510)}
    assert numbers == {1: 1, 2: 1, 9: 1, 10: 2, 20: 3, 128: 19, 510: 76}


@pytest.mark.slow
@each_kind
def test_eighty_ten_ten(kind: type[MaskedLM]) -> None:
    seen, right = [], []
    for _, example in many(kind()):
        asked = example.targets["masked"]
        # A span shares its fate, of which its first token tells.
        first = np.diff(asked.places, prepend=-9) > 1 if kind is SpanLM else slice(None)
        seen.append(example.tokens[asked.places[first]])
        right.append(asked.ids[first])
    now, once = np.concatenate(seen), np.concatenate(right)
    chance = 0.1 / len(KNOWN.ordinary)
    for found, share in ((now == MASK, 0.8), (now == once, 0.1 + chance)):
        assert abs(found.mean() - share) < 3 * (share * (1 - share) / len(now)) ** 0.5


@each_kind
def test_a_span_shares_its_fate(kind: type[MaskedLM]) -> None:
    mixed = 0
    for before, example in many(kind(shares=(0.5, 0.0, 0.5)), 50_000):
        for run in runs(example.targets["masked"].places):
            mixed += len(set(example.tokens[run] == before[run])) > 1
    assert (mixed == 0) == (kind is SpanLM)


@each_kind
def test_only_what_is_asked_for_is_changed_and_no_mark_is(kind: type[MaskedLM]) -> None:
    for before, example in many(kind(rate=0.6), 50_000):
        asked = example.targets["masked"]
        assert not KNOWN.special[asked.ids].any()
        assert len(set(asked.places.tolist())) == len(asked.places)
        again = example.tokens.copy()
        again[asked.places] = asked.ids
        assert (again == before).all()
        other = np.setdiff1d(example.tokens, [MASK, *FRAME.before, *FRAME.after])
        assert not KNOWN.special[other].any()


@each_kind
def test_nothing_is_told_of_what_is_masked(kind: type[MaskedLM]) -> None:
    """Another text behind the masks, with the same words, is seen as the same."""
    for key, text in enumerate(texts(KNOWN, 20_000, LENGTH)):
        first = prepared(text, kind(shares=(1.0, 0.0, 0.0)), key, SPANBERT)
        changed = text.copy()
        hidden = first.targets["masked"].places - 1
        changed[hidden] = KNOWN.ordinary[:2][text[hidden] % 2]
        second = prepared(changed, kind(shares=(1.0, 0.0, 0.0)), key, SPANBERT)
        assert (second.targets["masked"].ids != first.targets["masked"].ids).any()
        assert first.inputs.keys() == second.inputs.keys()
        assert all((first.inputs[name] == second.inputs[name]).all() for name in first.inputs)


@each_kind
def test_a_key_decides_everything(kind: type[MaskedLM]) -> None:
    text = next(texts(KNOWN, LENGTH, LENGTH))
    first, again, other = (prepared(text, kind(), key) for key in (0, 0, 1))
    assert (first.tokens == again.tokens).all()
    assert (first.targets["masked"].places == again.targets["masked"].places).all()
    assert not np.array_equal(first.targets["masked"].places, other.targets["masked"].places)


@pytest.mark.parametrize("kind", [WholeWordLM, SpanLM])
def test_whole_words_are_whole(kind: type[MaskedLM]) -> None:
    for before, example in many(kind(), 100_000):
        asked = np.zeros(len(before), dtype=bool)
        asked[example.targets["masked"].places] = True
        # Each token but a word's first shares the lot of the one before it.
        inner = np.flatnonzero(~KNOWN.begins[before[1:]] & ~KNOWN.special[before[:-1]]) + 1
        assert (asked[inner] == asked[inner - 1]).all()


def test_words_of_every_length_are_as_likely() -> None:
    """Each word by itself; an exact number is another matter, for which long words may be passed over."""
    found: dict[int, list[bool]] = {}
    for before, example in many(WholeWordLM(exact=False), 300_000):
        asked = np.isin(np.arange(len(before)), example.targets["masked"].places)
        starts = np.flatnonzero(KNOWN.begins[before] | np.roll(KNOWN.special[before], 1))
        for start, stop in pairwise(starts[1:]):
            found.setdefault(stop - start, []).append(bool(asked[start]))
    for size in range(1, 6):
        n = len(found[size])
        assert abs(np.mean(found[size]) - 0.15) < 3.5 * (0.15 * 0.85 / n) ** 0.5, size


def test_spans_have_geometric_lengths_of_at_most_ten_words() -> None:
    """A mean of 3.8 words (Joshi et al. 2020, section 3.1); every token is a word here."""
    words = np.full(200_000, 10)
    lengths = np.array([len(run) for run in runs(prepared(words, SpanLM()).targets["masked"].places)])
    chances = 0.2 * 0.8 ** np.arange(10)
    chances /= chances.sum()
    mean = float((chances * np.arange(1, 11)).sum())
    assert mean == pytest.approx(3.797, abs=1e-3)
    assert abs(lengths.mean() - mean) < 3 * lengths.std() / len(lengths) ** 0.5
    shares = np.bincount(lengths, minlength=11)[1:] / len(lengths)
    assert (abs(shares - chances) < 3.5 * (chances / len(lengths)) ** 0.5).all()
    assert lengths.max() == 10


def test_spans_stand_apart_and_inside_a_text() -> None:
    both = [document(text, FRAME) for text in texts(KNOWN, 240, 120)]
    for key in range(50):
        example = Pass((SpanLM(rate=0.4),)).prepare(Row(tuple(both), (key,)), setting(family=SPANBERT))
        spans = example.inputs["spans"]
        assert (spans[1:, 0] >= spans[:-1, 1]).all()
        documents = example.inputs["documents"]
        assert (documents[spans[:, 0]] == documents[spans[:, 1]]).all()


def test_boundaries_ask_for_the_same_tokens_again() -> None:
    n_asked = 0
    for key, text in enumerate(texts(KNOWN, 50_000, LENGTH)):
        example = prepared(text, SpanLM(), key, SPANBERT)
        spans, asked, masked = example.inputs["spans"], example.targets["boundaries"], example.targets["masked"]
        where = spans[asked.places[:, 0], 0] + 1 + asked.places[:, 1]
        right = dict(zip(masked.places.tolist(), masked.ids.tolist(), strict=True))
        assert [right[place] for place in where.tolist()] == asked.ids.tolist()
        assert (where < spans[asked.places[:, 0], 1]).all()
        assert not set(spans.ravel().tolist()) & right.keys(), "what stands around a span is seen"
        assert asked.places[:, 1].max() < 20
        n_asked += len(asked.ids)
    assert n_asked > 0.14 * 50_000


def test_a_long_span_is_asked_for_as_far_as_there_are_places() -> None:
    word = np.array([10, *[11] * 29])
    example = prepared(np.tile(word, 12), SpanLM(), family=SPANBERT)
    lengths = example.inputs["spans"] @ np.array([-1, 1]) - 1
    asked = np.bincount(example.targets["boundaries"].places[:, 0])
    assert lengths.min() >= 30
    assert set(asked.tolist()) == {20}


def test_frequent_tokens_replace_more_often() -> None:
    counted = KNOWN.with_frequencies([np.repeat([10, 11, 12, MASK], [60, 30, 10, 500])])
    objective = MaskedLM(shares=(0.0, 1.0, 0.0), replacement="unigram")
    assert not objective.faults(setting(counted))
    example = Pass((objective,)).prepare(row(np.full(200_000, 20)), setting(counted))
    shown = Counter(example.tokens[example.targets["masked"].places].tolist())
    assert shown.keys() == {10, 11, 12}
    for token, share in ((10, 0.6), (11, 0.3), (12, 0.1)):
        assert abs(shown[token] / shown.total() - share) < 3 * (share * (1 - share) / shown.total()) ** 0.5


def test_uniform_replacements_are_uniform() -> None:
    known = vocabulary(50, CLASSED)
    objective = MaskedLM(rate=0.9, shares=(0.0, 1.0, 0.0))
    example = Pass((objective,)).prepare(row(np.full(200_000, 20)), setting(known))
    shown = np.bincount(example.tokens[example.targets["masked"].places], minlength=50)
    assert (shown[known.special] == 0).all()
    n, share = shown.sum(), 1 / len(known.ordinary)
    assert (abs(shown[known.ordinary] / n - share) < 4 * (share / n) ** 0.5).all()


@given(
    st.lists(st.lists(st.integers(0, 36), min_size=1, max_size=9), min_size=1, max_size=4),
    st.integers(0, 2**32),
    st.sampled_from([MaskedLM, WholeWordLM, SpanLM]),
    st.booleans(),
)
def test_any_row_is_read(pieces: list[list[int]], key: int, kind: type[MaskedLM], exact: bool) -> None:
    known = vocabulary(37, CLASSED)
    what = Row(tuple(document(np.array(ids)) for ids in pieces), (key,))
    before = np.concatenate([piece.ids for piece in what.pieces])
    example = Pass((kind(exact=exact),)).prepare(what, setting(known, SPANBERT))
    asked, free = example.targets["masked"], int((~known.special[before]).sum())
    assert (before[asked.places] == asked.ids).all()
    assert not known.special[asked.ids].any()
    if exact and kind is MaskedLM:
        assert len(asked.ids) == min(free, max(1, round(0.15 * free)))
    if exact and free:
        assert len(asked.ids) > 0


def test_static_masks_are_asked_of_the_data() -> None:
    static, dynamic = passes((NextSentence(), MaskedLM(copies=10)))[0], Pass((MaskedLM(),))
    assert (static.copies, dynamic.copies) == (10, None)


@pytest.mark.parametrize(
    ("options", "family", "known", "words"),
    [
        ({}, GPT2, KNOWN, "head for masked tokens"),
        ({}, BERT, vocabulary(50, Roles(pad=0)), "a token that is mask"),
        ({"rate": 0.0}, BERT, KNOWN, "rate=0.0"),
        ({"shares": (0.8, 0.1, 0.2)}, BERT, KNOWN, "shares of 1"),
        ({"shares": (1.2, -0.1, -0.1)}, BERT, KNOWN, "shares of 1"),
        ({"replacement": "zipf"}, BERT, KNOWN, "'zipf'"),
        ({"replacement": "unigram"}, BERT, KNOWN, "frequencies"),
    ],
)
def test_what_is_lacking_is_named(options: dict[str, Any], family: Family, known: Vocabulary, words: str) -> None:
    (fault,) = MaskedLM(**options).faults(setting(known, family))
    assert words in str(fault)


def test_all_faults_come_at_once() -> None:
    faults = SpanLM(rate=2.0, p=1.0, longest=0).faults(setting(vocabulary(50, Roles(pad=0)), GPT2))
    assert len(faults) == 5


def test_task_modules_mask_too() -> None:
    assert MaskedLM().given(ERNIE3.build()) == {"understanding": True}
    assert MaskedLM().given(BERT.build()) == {}
