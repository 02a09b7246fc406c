"""Rows of ids of many lengths -> rows of one length, and the mask that tells ids from padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from stemma.errors import Fault, InputError

Side = Literal["left", "right"]


def truncate(row: Sequence[int], max_length: int | None, side: Side = "right") -> list[int]:
    """Cut a row of ids to a length.

    Args:
        row: ids.
        max_length: the most ids that stay; None keeps all.
        side: where ids are cut off.

    >>> truncate([1, 2, 3], 2), truncate([1, 2, 3], 2, side="left")
    ([1, 2], [2, 3])
    """
    if max_length is None or len(row) <= max_length:
        return list(row)
    return list(row[:max_length]) if side == "right" else list(row[len(row) - max_length :])


def pad_rows(
    rows: Sequence[Sequence[int]],
    pad: int,
    *,
    side: Side = "right",
    max_length: int | None = None,
    truncate_side: Side = "right",
) -> tuple[list[list[int]], list[list[bool]]]:
    """Fill rows up to the longest of them.

    Args:
        rows: ids, a row for each text.
        pad: the id that fills.
        side: where the filling stands.
        max_length: rows are cut to this many ids first.
        truncate_side: where they are cut.

    Returns:
        the rows, and the mask: True where an id is text.

    Raises:
        InputError: an unknown side or a length below 1.

    >>> pad_rows([[1, 2, 3], [4]], 0, side="left")
    ([[1, 2, 3], [0, 0, 4]], [[True, True, True], [False, False, True]])
    """
    faults = [
        Fault(name, value, "is no side", "use left or right")
        for name, value in (("side", side), ("truncate_side", truncate_side))
        if value not in ("left", "right")
    ]
    if max_length is not None and max_length < 1:
        faults.append(Fault("max_length", max_length, "must be at least 1", "leave it out to keep all ids"))
    if faults:
        raise InputError("padding", faults)
    cut = [truncate(row, max_length, truncate_side) for row in rows]
    width = max(map(len, cut), default=0)
    ids, mask = [], []
    for row in cut:
        filling, text = [pad] * (width - len(row)), [True] * len(row)
        ids.append(filling + row if side == "left" else row + filling)
        mask.append([False] * len(filling) + text if side == "left" else text + [False] * len(filling))
    return ids, mask
