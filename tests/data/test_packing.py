"""How documents become rows, apart from any corpus."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.data.packing import WINDOW, Plan, bucket, chop, fit, neighbour, pack, pour

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=60).map(lambda lengths: np.array(lengths, dtype=np.int64))


def stretches(plan: Plan) -> list[list[tuple[int, int, int]]]:
    """The rows of a plan as lists of (document, start, stop)."""
    return [
        [(int(plan.documents[i]), int(plan.starts[i]), int(plan.stops[i])) for i in range(first, last)]
        for first, last in zip(plan.bounds[:-1], plan.bounds[1:], strict=True)
    ]


def tokens(plan: Plan) -> list[tuple[int, int]]:
    """Each token that stands in a plan, as its document and place."""
    return [(one, place) for row in stretches(plan) for one, start, stop in row for place in range(start, stop)]


def best_fit(sizes: list[int], length: int) -> int:
    """How many bins the textbook's algorithm fills."""
    rooms: list[int] = []
    for size in sorted(sizes, reverse=True):
        able = [room for room in rooms if room >= size]
        if able:
            rooms.remove(min(able))
        rooms.append((min(able) if able else length) - size)
    return len(rooms)


@given(LENGTHS, st.integers(1, 20))
def test_a_stream_is_the_documents_one_after_the_other(lengths: np.ndarray, length: int) -> None:
    plan = pour(np.arange(len(lengths)), lengths, length)
    wanted = [(one, place) for one, size in enumerate(lengths) for place in range(size)]
    assert tokens(plan) == wanted[: len(wanted) // length * length]
    assert plan.lengths.tolist() == [length] * (len(wanted) // length)
    assert all(start < stop for row in stretches(plan) for _, start, stop in row)


@given(LENGTHS, st.integers(1, 20))
def test_chopping_keeps_every_token_and_the_room(lengths: np.ndarray, room: int) -> None:
    plan = chop(np.arange(len(lengths)), lengths, room)
    assert tokens(plan) == [(one, place) for one, size in enumerate(lengths) for place in range(size)]
    assert plan.lengths.max() <= room
    assert len(plan) == sum(-(-int(size) // room) for size in lengths)


@given(LENGTHS, st.integers(30, 90))
def test_fit_is_best_fit_in_the_order_of_falling_size(sizes: np.ndarray, length: int) -> None:
    bins = fit(sizes, length)
    assert np.bincount(bins, sizes).max() <= length
    assert np.bincount(bins).min() > 0
    assert bins.max() + 1 == best_fit(sizes.tolist(), length)


@given(LENGTHS, st.randoms(use_true_random=False))
def test_how_many_bins_there_are_depends_on_the_sizes_alone(sizes: np.ndarray, random: object) -> None:
    shuffled = sizes[np.random.default_rng(0).permutation(len(sizes))]
    assert fit(sizes, 30).max() == fit(shuffled, 30).max()


@given(LENGTHS, st.integers(0, 3))
def test_packing_keeps_every_token_within_the_length(lengths: np.ndarray, frame: int) -> None:
    items = chop(np.arange(len(lengths)), lengths, 20 - frame)
    plan = pack(items, frame, 20)
    assert sorted(tokens(plan)) == sorted(tokens(items))
    per_row = np.array([sum(stop - start + frame for _, start, stop in row) for row in stretches(plan)])
    assert per_row.max() <= 20


def test_a_million_documents_fill_their_rows() -> None:
    sizes = np.clip(np.random.default_rng(0).lognormal(3.3, 1, 10**6).astype(np.int64), 1, 512)
    bins = fit(sizes, 512)
    assert np.bincount(bins, sizes).max() <= 512
    assert sizes.sum() / (512 * (bins.max() + 1)) > 0.99


@given(LENGTHS.filter(lambda lengths: len(lengths) > 1), st.integers(1, 20))
def test_a_neighbour_is_of_another_document(lengths: np.ndarray, room: int) -> None:
    items = chop(np.arange(len(lengths)), lengths, room)
    plan = neighbour(items, np.random.default_rng(0))
    rows = stretches(plan)
    assert [row[0] for row in rows] == [row[0] for row in stretches(items)]
    held = {row[0] for row in stretches(items)}
    assert all(len(row) == 2 and row[0][0] != row[1][0] and row[1] in held for row in rows)


def test_neighbours_are_drawn_evenly_over_documents() -> None:
    items = chop(np.arange(4), np.array([10, 10, 10, 4000]), 10)
    strangers = [row[1][0] for row in stretches(neighbour(items, np.random.default_rng(0))) if row[0][0] == 3]
    counts = np.bincount(strangers, minlength=4)
    assert counts[3] == 0
    assert abs(counts[:3] - 400 / 3).max() < 3 * (400 * 2 / 9) ** 0.5


@given(LENGTHS, st.integers(1, 8))
def test_buckets_are_an_order_of_the_rows(lengths: np.ndarray, batch: int) -> None:
    order = bucket(lengths, batch, np.random.default_rng(0))
    assert len(order) == (len(lengths) // batch * batch or len(lengths))
    assert len(set(order.tolist())) == len(order)


@pytest.mark.parametrize("batch", [8, 32])
def test_rows_of_a_batch_are_of_like_length(batch: int) -> None:
    draws = np.random.default_rng(0)
    lengths = np.clip(draws.lognormal(3, 1, batch * WINDOW * 4).astype(np.int64), 1, 512)
    batches = lengths[bucket(lengths, batch, draws)].reshape(-1, batch)
    assert lengths.sum() / (batches.max(1) * batch).sum() > 0.8
    # In the order that they came, most of a batch would be padding.
    assert lengths.sum() / (lengths.reshape(-1, batch).max(1) * batch).sum() < 0.4
    # Batches come in no order of length.
    assert abs(np.corrcoef(np.arange(len(batches)), batches.max(1))[0, 1]) < 0.3
