"""Documents of an epoch -> its rows: which stretch of which document stands in which row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

WINDOW = 50
"""Batches among which rows are sorted by their length: more waste less, fewer mix better."""


@dataclass(frozen=True)
class Plan:
    """The rows of an epoch, as stretches of documents.

    Args:
        bounds: rows + 1; row i has the stretches from bounds[i] to bounds[i + 1].
        documents: of each stretch.
        starts: its first token.
        stops: one past its last.
    """

    bounds: Numbers
    documents: Numbers
    starts: Numbers
    stops: Numbers

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def lengths(self) -> Numbers:
        """Tokens of each row."""
        held: Numbers = np.concatenate([[0], np.cumsum(self.stops - self.starts)])
        return held[self.bounds[1:]] - held[self.bounds[:-1]]

    def take(self, rows: Numbers) -> Plan:
        """Some of the rows, in the order given."""
        sizes = (self.bounds[1:] - self.bounds[:-1])[rows]
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        chosen = np.repeat(self.bounds[rows] - bounds[:-1], sizes) + np.arange(bounds[-1])
        return Plan(bounds, self.documents[chosen], self.starts[chosen], self.stops[chosen])


def pour(documents: Numbers, lengths: Numbers, length: int) -> Plan:
    """Documents one after the other, cut wherever a row is full; what fills no row at the end is left out.

    Args:
        documents: their numbers, in their order.
        lengths: tokens of each.
        length: of every row.
    """
    ends = np.cumsum(lengths)
    rows = np.arange(int(ends[-1]) // length + 1) * length
    edges = np.union1d(np.concatenate([[0], ends[ends <= rows[-1]]]), rows)
    inside = np.searchsorted(ends, edges[:-1], side="right")
    before = (ends - lengths)[inside]
    return Plan(np.searchsorted(edges, rows), documents[inside], edges[:-1] - before, edges[1:] - before)


def chop(documents: Numbers, lengths: Numbers, room: int) -> Plan:
    """A row for each document, or for each part of one that is longer than the room.

    Args:
        documents: their numbers, in their order.
        lengths: tokens of each, at least 1.
        room: the most tokens of a part.
    """
    parts = -(-lengths // room)
    first = np.cumsum(parts) - parts
    starts = (np.arange(parts.sum()) - np.repeat(first, parts)) * room
    stops = np.minimum(starts + room, np.repeat(lengths, parts))
    return Plan(np.arange(len(starts) + 1), np.repeat(documents, parts), starts, stops)


def fit(sizes: Numbers, length: int) -> Numbers:
    """The bin of each item: best fit in the order of falling size.

    An item goes to the fullest bin that has room for it (Johnson et al. 1974, "Worst-case performance bounds for simple
    one-dimensional packing algorithms", section 2). Items of one size are placed together, bins with the same room at a
    time, so that millions take seconds. How many bins there are depends on the sizes alone.

    Args:
        sizes: of the items, from 1 to `length`.
        length: of every bin.

    >>> fit(np.array([2, 7, 3, 5, 3]), 10).tolist()
    [1, 0, 0, 1, 1]
    """
    order = np.argsort(-sizes, kind="stable")
    bins = np.empty(len(sizes), dtype=np.int64)
    open_bins: dict[int, Numbers] = {}  # by the room that is left in them
    n_bins = 0
    counts = np.bincount(sizes, minlength=length + 1)
    done = 0
    for size in range(length, 0, -1):
        left = int(counts[size])
        for room in sorted(room for room in open_bins if room >= size) if left else []:
            if not left:
                break
            done, left = _place(order, bins, open_bins, room, size, done, left)
        if left:
            fresh = -(-left // (length // size))
            open_bins[length] = np.arange(n_bins, n_bins + fresh)
            n_bins += fresh
            done, left = _place(order, bins, open_bins, length, size, done, left)
    return bins


def _place(
    order: Numbers, bins: Numbers, open_bins: dict[int, Numbers], room: int, size: int, done: int, left: int
) -> tuple[int, int]:
    """Fill bins of one room with items of one size: each with as many as it takes before the next."""
    held, each = open_bins.pop(room), room // size
    full = min(len(held), left // each)
    few = (left - full * each) if full < len(held) else 0
    filled = np.repeat(held[: full + 1], [*[each] * full, *([few] if full < len(held) else [])])
    bins[order[done : done + len(filled)]] = filled
    for changed, taken in ((held[:full], each), (held[full : full + 1], few), (held[full + 1 :], 0)):
        rest = room - size * taken
        if len(changed) and rest:
            open_bins[rest] = np.concatenate([open_bins.get(rest, np.empty(0, dtype=np.int64)), changed])
    return done + len(filled), left - len(filled)


def pack(items: Plan, frame: int, length: int) -> Plan:
    """Rows of as many stretches as find room in them.

    Args:
        items: rows of one stretch each, in a random order, which settles what is put beside what.
        frame: tokens around each stretch.
        length: the most tokens of a row.
    """
    bins = fit(items.lengths + frame, length)
    order = np.argsort(bins, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(bins))])
    return Plan(bounds, items.documents[order], items.starts[order], items.stops[order])


def neighbour(items: Plan, draws: np.random.Generator) -> Plan:
    """Beside each row's stretch one of another document, each of which is as likely, and each of its stretches.

    Args:
        items: rows of one stretch each, of at least two documents.
        draws: of the others.
    """
    by_document = np.argsort(items.documents, kind="stable")
    _, own, counts = np.unique(items.documents, return_inverse=True, return_counts=True)
    other = draws.integers(0, len(counts) - 1, len(items))
    other += other >= own
    first = np.cumsum(counts) - counts
    strangers = by_document[first[other] + draws.integers(0, counts[other])]
    pairs = np.stack([np.arange(len(items)), strangers], axis=1).reshape(-1)
    return Plan(np.arange(len(items) + 1) * 2, items.documents[pairs], items.starts[pairs], items.stops[pairs])


def bucket(lengths: Numbers, batch: int, draws: np.random.Generator) -> Numbers:
    """An order of rows in which those of a batch are of like length, and batches of all lengths mix.

    Windows of some batches of rows are sorted, and all batches shuffled. Rows that fill no batch at the end are left
    out, so that batches begin where steps do; where there is less than one batch, all stay.

    Args:
        lengths: of the rows, in a random order.
        batch: rows of one.
        draws: of the shuffle.
    """
    whole = len(lengths) // batch * batch or len(lengths)
    order = np.lexsort((lengths[:whole], np.arange(whole) // (WINDOW * batch)))
    if whole < batch:
        return order
    shuffled: Numbers = draws.permutation(order.reshape(-1, batch)).reshape(-1)
    return shuffled
