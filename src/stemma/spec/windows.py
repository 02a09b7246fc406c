"""What a window leaves to compute and to keep: blocks of the matrix of scores, and slots of a cache."""

from __future__ import annotations

from typing import NamedTuple

BLOCK = 128
"""Queries of a block of a band. Smaller ones score fewer keys in vain, larger ones start fewer products: measured."""

TRIM = 64
"""Positions by which a rolling cache can always be trimmed."""

# A kernel passes over a block of keys that lies in the future as a whole. Up to one such block there is none: cut in
# two, a causal text of that length leaves out a quarter of the products.
_WORTH_HALVING, _KEY_BLOCK = 256, 512


class Block(NamedTuple):
    """A part of the matrix of scores.

    Args:
        queries: its rows.
        keys: its columns.
    """

    queries: slice
    keys: slice

    @property
    def n_scores(self) -> int:
        """Scores in it.

        >>> Block(slice(2, 4), slice(0, 4)).n_scores
        8
        """
        n_queries, n_keys = (part.stop - part.start for part in self)
        return int(n_queries * n_keys)


def blocks(n_queries: int, n_keys: int, window: int | None, causal: bool) -> tuple[Block, ...]:
    """The parts of the matrix of scores that are computed: some queries, and all keys that one of them may see.

    With a window these are the queries' own keys and whole blocks of as many before them (and after them, where
    nothing is causal): a band along the diagonal (Child et al. 2019, section 4; Beltagy et al. 2020, section 3.1).

    Args:
        n_queries: S, the last of the keys.
        n_keys: T.
        window: a query sees keys less than this many positions away; None for all.
        causal: a query sees no later key.

    >>> [(part.queries.start, part.keys.start, part.keys.stop) for part in blocks(300, 300, 100, causal=True)]
    [(0, 0, 128), (128, 0, 256), (256, 128, 300)]
    """
    before = n_keys - n_queries
    if window is not None and n_keys > window and n_queries:
        step = min(BLOCK, n_queries)
        reach = -(-(window - 1) // step) * step
        ahead = 0 if causal else reach
        starts = range(0, n_queries, step)
        rows = [slice(start, min(start + step, n_queries)) for start in starts]
        return tuple(
            Block(row, slice(max(0, before + row.start - reach), min(n_keys, before + row.stop + ahead)))
            for row in rows
        )
    if causal and n_queries == n_keys and _WORTH_HALVING <= n_queries <= _KEY_BLOCK:
        half = n_queries // 2
        return Block(slice(0, half), slice(0, half)), Block(slice(half, n_queries), slice(0, n_keys))
    return (Block(slice(0, n_queries), slice(0, n_keys)),)


def n_scores(n_queries: int, n_keys: int, window: int | None, causal: bool) -> int:
    """Scores that `blocks` holds together.

    >>> n_scores(8192, 8192, 256, causal=True) / 8192**2 < 0.05
    True
    """
    return sum(block.n_scores for block in blocks(n_queries, n_keys, window, causal))


def n_kept(window: int) -> int:
    """Slots that a full rolling cache goes on with: those the next query sees, also after a trim by `TRIM`."""
    return window - 1 + TRIM


def n_slots(capacity: int, window: int | None) -> int:
    """Slots that a block's cache has: a window's keys, and some to fill before they are moved to the front.

    Args:
        capacity: the most positions of a text.
        window: of the block.

    >>> n_slots(100_000, 4096), n_slots(1000, 4096), n_slots(1000, None)
    (4224, 1000, 1000)
    """
    return capacity if window is None else min(capacity, window + 2 * TRIM)
