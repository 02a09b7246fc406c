"""The rows of a run: each document as often as it should be, and the same at any time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.data import Corpus, Files, Frame, Reading, Row, Rows, documents, language_shares
from stemma.errors import InputError

FRAME = Frame((1,), (2, 3))
READINGS: tuple[Reading, ...] = get_args(Reading)
# Tokens are told apart by their values: document number * 100 + place + 10.
CORPORA = st.lists(st.integers(1, 25), min_size=2, max_size=20).map(
    lambda sizes: [[100 * number + 10 + place for place in range(size)] for number, size in enumerate(sizes)]
)


def corpus(texts: list[list[int]], reading: Reading = "stream", language: str = "") -> Corpus:
    if reading == "pairs":
        return Corpus.of([(text, text[::-1]) for text in texts], (language, language + "'"))
    return Corpus.of(texts, (language,))


def shown(row: Row) -> tuple[Any, ...]:
    return row.key, [(piece.document, piece.languages, [part.tolist() for part in piece.parts]) for piece in row.pieces]


def epoch(rows: Rows, number: int = 0) -> list[Row]:
    start = sum(rows.in_epoch(earlier) for earlier in range(number))
    return [rows.row(start + index) for index in range(rows.in_epoch(number))]


def text(rows: list[Row]) -> list[int]:
    """The tokens of rows without their frames."""
    return [int(token) for row in rows for piece in row.pieces for token in piece.ids if token >= 10]


@given(CORPORA, st.integers(4, 12), st.integers(0, 3))
def test_every_token_once_an_epoch(texts: list[list[int]], length: int, number: int) -> None:
    all_tokens = [token for one in texts for token in one]
    whole = Rows([corpus(texts)], "whole", length, FRAME, seed=1)
    assert sorted(text(epoch(whole, number))) == all_tokens
    pieces = Rows([corpus(texts)], "pieces", length, FRAME, seed=1)
    assert sorted(text(epoch(pieces, number))) == all_tokens
    stream = Rows([corpus(texts)], "stream", length, FRAME, seed=1)
    found = Counter(text(epoch(stream, number)))
    assert found <= Counter(all_tokens)
    assert len(all_tokens) - length < found.total()


@given(CORPORA, st.integers(4, 12))
def test_a_stream_is_framed_documents_in_full_rows(texts: list[list[int]], length: int) -> None:
    rows = epoch(Rows([corpus(texts)], "stream", length, FRAME, seed=0))
    found = [piece for row in rows for piece in row.pieces]
    assert all(sum(len(piece.ids) for piece in row.pieces) == length for row in rows)
    joined = np.concatenate([piece.ids for piece in found]).tolist()
    order = list(dict.fromkeys(piece.document for piece in found))
    framed = [token for number in order for token in (1, *texts[number], 2, 3)]
    assert joined == framed[: len(joined)]
    assert all(left.document != right.document for row in rows for left, right in pairwise(row.pieces))


@given(CORPORA, st.integers(4, 12))
def test_pieces_stand_in_frames_within_the_length(texts: list[list[int]], length: int) -> None:
    readings: tuple[Reading, ...] = ("whole", "pieces")
    for reading in readings:
        for row in epoch(Rows([corpus(texts)], reading, length, FRAME, seed=0)):
            assert sum(len(piece.ids) for piece in row.pieces) <= length
            for piece in row.pieces:
                first, *body, second, third = piece.ids.tolist()
                assert (first, second, third) == (1, 2, 3)
                start = body[0] - texts[piece.document][0]
                assert body == texts[piece.document][start : start + len(body)]


@given(CORPORA, st.integers(4, 12))
def test_neighbours_are_bare_and_of_two_documents(texts: list[list[int]], length: int) -> None:
    texts = [[*one, one[-1] + 1] for one in texts]
    for row in epoch(Rows([corpus(texts)], "neighbours", length + 2, FRAME, seed=0)):
        own, other = row.pieces
        assert own.document != other.document
        assert min(len(own.ids), len(other.ids)) >= 2
        assert min(own.ids.min(), other.ids.min()) >= 10


def test_a_short_document_is_a_neighbour_of_every_batch() -> None:
    """Also in epochs whose batches have left out its own row."""
    rows = Rows([Corpus.of([[10] * 1000, [11, 11]])], "neighbours", 12, FRAME, seed=0, batch=32)
    found = [piece.document for number in range(40 * 96) for piece in rows.row(number).pieces[1:]]
    assert rows.in_epoch(0) == 96
    assert found.count(1) >= 40 * 95


@given(CORPORA)
def test_pairs_are_whole(texts: list[list[int]]) -> None:
    rows = epoch(Rows([corpus(texts, "pairs", "en")], "pairs", 8, FRAME, seed=0))
    found = sorted((piece.parts[0].tolist(), piece.parts[1].tolist()) for row in rows for piece in row.pieces)
    assert found == sorted((one, one[::-1]) for one in texts)
    assert {piece.languages for row in rows for piece in row.pieces} == {(0, 1)}


@given(st.sampled_from(READINGS), st.lists(st.integers(0, 300), min_size=1, max_size=8), st.sampled_from([1.0, 0.5]))
def test_rows_are_a_pure_function_of_their_number(reading: Reading, numbers: list[int], alpha: float) -> None:
    def made() -> Rows:
        sizes = np.random.default_rng(0).integers(2, 25, 40)
        texts = [[100 * number + 10 + place for place in range(size)] for number, size in enumerate(sizes)]
        halves = [corpus(texts[:30], reading, "en"), corpus(texts[30:], reading, "de")]
        return Rows(halves, reading, 12, FRAME, seed=5, alpha=alpha, batch=3)

    unbroken = made()
    wanted = [shown(unbroken.row(number)) for number in range(301)]
    resumed = made()
    assert [shown(resumed.row(number)) for number in numbers] == [wanted[number] for number in numbers]


@pytest.mark.parametrize("reading", READINGS)
def test_epochs_differ_and_so_do_seeds(reading: Reading) -> None:
    texts = [[100 * number + place + 10 for place in range(5 + number % 7)] for number in range(50)]

    def pieces(seed: int, number: int) -> list[Any]:
        return [shown(row)[1] for row in epoch(Rows([corpus(texts, reading)], reading, 16, FRAME, seed), number)]

    assert pieces(0, 0) == pieces(0, 0)
    assert pieces(0, 0) != pieces(0, 1)
    assert pieces(0, 0) != pieces(1, 0)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_copies_repeat_epochs_with_their_keys(reading: Reading, alpha: float) -> None:
    texts = [[100 * number + place + 10 for place in range(3 + number % 9)] for number in range(30)]
    both = [corpus(texts[:22], reading, "a"), corpus(texts[22:], reading, "b")]
    rows = Rows(both, reading, 16, FRAME, seed=0, alpha=alpha, copies=2)
    epochs = [[shown(row) for row in epoch(rows, number)] for number in range(4)]
    assert epochs[:2] == epochs[2:]
    assert epochs[0] != epochs[1]


def test_keys_are_never_alike_in_different_epochs() -> None:
    rows = Rows([corpus([[10, 11]] * 7)], "pieces", 8, FRAME, seed=3)
    keys = [rows.row(number).key for number in range(35)]
    assert len(set(keys)) == 35
    assert all(key[0] == 3 for key in keys)


def test_where_a_run_stands() -> None:
    rows = Rows([corpus([[10]] * 8)], "pieces", 8, FRAME, seed=0, batch=2)
    assert [tuple(rows.describe(number)) for number in (0, 2, 8, 21)] == [(0, 0), (0, 0.25), (1, 0), (2, 0.625)]


def test_batches_begin_where_steps_do_and_hold_rows_of_like_length() -> None:
    sizes = np.clip(np.random.default_rng(0).lognormal(2.5, 1, 3003).astype(int), 1, 60)
    rows = Rows([Corpus.of([[7] * size for size in sizes])], "pieces", 64, FRAME, seed=0, batch=16)
    assert rows.in_epoch(0) == 3003 // 16 * 16
    lengths = np.array([len(rows.row(number).pieces[0].ids) for number in range(2 * rows.in_epoch(0))])
    batches = lengths.reshape(-1, 16)
    assert lengths.sum() / (batches.max(1) * 16).sum() > 0.9


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
def test_languages_have_the_shares_that_the_formula_gives(alpha: float) -> None:
    draws = np.random.default_rng(0)
    sizes = {"en": 900, "de": 90, "cs": 10}
    corpora = [Corpus.of([[7] * n for n in draws.integers(5, 15, size)], (name,)) for name, size in sizes.items()]
    rows = Rows(corpora, "stream", 32, Frame(), seed=0, alpha=alpha)
    counts = np.zeros(3)
    for number in range(4):
        for row in epoch(rows, number):
            for piece in row.pieces:
                counts[piece.languages[0]] += len(piece.ids)
    wanted = language_shares([one.n_tokens for one in corpora], alpha)
    assert rows.languages == ("en", "de", "cs")
    assert abs(counts / counts.sum() - wanted).max() < 0.02
    assert counts.sum() / 4 == pytest.approx(sum(one.n_tokens for one in corpora), rel=0.03)


def test_a_small_language_goes_round_in_whole_shuffles() -> None:
    large, small = corpus([[10] * 10] * 98, language="en"), corpus([[500 + n] * 10 for n in range(5)], language="de")
    rows = Rows([large, small], "pieces", 16, Frame(), seed=0, alpha=0.0)
    seen = [row.pieces[0].document - 98 for number in range(3) for row in epoch(rows, number)]
    taken = [document for document in seen if document >= 0]
    counts = np.bincount(taken, minlength=5)
    assert counts.max() - counts.min() <= 1
    assert counts.min() > 20


def test_corpora_of_one_language_keep_their_proportion() -> None:
    parts = [corpus([[10] * 10] * size, language="en") for size in (80, 20)]
    rows = Rows([*parts, corpus([[10] * 10] * 100, language="de")], "pieces", 16, Frame(), seed=0, alpha=0.0)
    counts = np.bincount([row.pieces[0].document >= 80 for row in epoch(rows)])
    assert rows.in_epoch(0) == 200
    assert counts.tolist() == [80, 120]


def test_rows_of_real_sentences_are_full() -> None:
    """Packed by best fit, sentences leave under a tenth of the rows empty, at any usual length."""
    lines = [one for (topic,) in documents(Files(paths=("pydoc",))) for one in topic.split(". ") if one.strip()]
    ids = [[10] * min(len(one.split()) * 4 // 3, 200) for one in lines]
    for length in (64, 128, 512):
        rows = Rows([Corpus.of([one for one in ids if one])], "whole", length, Frame((1,), (2,)), seed=0)
        held = [sum(len(piece.ids) for piece in row.pieces) for row in epoch(rows)]
        assert sum(held) / (len(held) * length) > 0.97


@pytest.mark.slow
def test_rows_of_real_sentences_beside_the_repository_are_full(shared: Path) -> None:
    source = Files(paths=(f"{shared}/data/tatoeba-laser/*-eng.eng",), split="line")
    ids = [[10] * len(one.split()) for (one,) in documents(source)]
    rows = Rows([Corpus.of(ids)], "whole", 128, Frame((1,), (2,)), seed=0)
    held = [sum(len(piece.ids) for piece in row.pieces) for row in epoch(rows)]
    assert sum(held) / (len(held) * 128) > 0.99


def test_all_faults_at_once() -> None:
    wrong: Any = {"reading": "backwards", "length": 3, "seed": -1, "batch": 0, "copies": 0}
    with pytest.raises(InputError) as caught:
        Rows([corpus([[10]])], frame=FRAME, **wrong)
    assert {fault.field for fault in caught.value.faults} == {"reading", "length", "seed", "batch", "copies"}
    with pytest.raises(InputError, match="'pairs' reads 2"):
        Rows([corpus([[10]])], "pairs", 8, FRAME, 0)
    with pytest.raises(InputError, match="tokens fill no row"):
        Rows([corpus([[10]])], "stream", 8, FRAME, 0)
    with pytest.raises(InputError, match="must hold two documents"):
        Rows([corpus([[10, 11], [12]])], "neighbours", 8, FRAME, 0)
    with pytest.raises(InputError, match="alpha=2 must lie from 0 to 1"):
        Rows([corpus([[10]])], "pieces", 8, FRAME, 0, alpha=2)
    with pytest.raises(InputError, match="corpora="):
        Rows([], "pieces", 8, FRAME, 0)
