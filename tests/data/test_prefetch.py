"""A thread that makes batches ahead."""

from __future__ import annotations

import threading
from itertools import islice

import pytest

from stemma.data import Prefetch


def test_all_numbers_in_their_order_from_any_start() -> None:
    with Prefetch(lambda number: number * 2, start=7, ahead=3) as batches:
        assert list(islice(batches, 20)) == [number * 2 for number in range(7, 27)]
        assert batches.waited >= 0


def test_batches_are_made_before_they_are_asked_for() -> None:
    made = [threading.Event() for _ in range(3)]
    with Prefetch(lambda number: made[number].set() if number < 3 else None, ahead=3):
        assert all(event.wait(30) for event in made)


def test_no_more_are_made_than_asked() -> None:
    calls: list[int] = []
    with Prefetch(calls.append, ahead=2) as batches:
        next(batches)
    assert calls == list(range(len(calls)))
    assert len(calls) <= 3


def test_an_error_comes_out_where_its_batch_would() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise OSError("gone")
        return number

    with Prefetch(make) as batches:
        assert [next(batches), next(batches)] == [0, 1]
        with pytest.raises(OSError, match="gone"):
            next(batches)


def test_waiting_is_counted() -> None:
    release = threading.Event()
    with Prefetch(lambda number: release.wait(30), ahead=1) as batches:
        threading.Timer(0.05, release.set).start()
        next(batches)
        assert batches.waited > 0


def test_closing_ends_the_thread() -> None:
    before = threading.active_count()
    batches = Prefetch(lambda number: number)
    next(batches)
    batches.close()
    batches.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(batches)
