"""Batches that are ready before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """An endless iterator over make(start), make(start + 1), ..., which a thread keeps some steps ahead.

    What `make` raises comes out where the batch would have. Leaving a `with` block, or `close`, ends the thread.

    Args:
        make: a batch from its number; runs in the thread.
        start: the first number.
        ahead: how many batches are made before they are asked for.

    >>> with Prefetch(lambda number: number**2, start=3) as squares:
    ...     next(squares), next(squares)
    (9, 16)
    """

    def __init__(self, make: Callable[[int], T], start: int = 0, ahead: int = 4) -> None:
        assert ahead > 0, "a thread that is no step ahead is of no use"
        self.waited = 0.0
        """Seconds that were spent in waiting for batches."""
        self._make = make
        self._number = start
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._coming: deque[Future[T]] = deque()
        for _ in range(ahead):
            self._begin()

    def _begin(self) -> None:
        self._coming.append(self._thread.submit(self._make, self._number))
        self._number += 1

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if not self._coming:
            raise StopIteration
        self._begin()
        start = perf_counter()
        try:
            return self._coming.popleft().result()
        finally:
            self.waited += perf_counter() - start

    def close(self) -> None:
        """End the thread after the batch that it is making; nothing comes afterwards."""
        self._coming.clear()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
