"""The quantised matrices of a GGUF file under our names, without a way through full precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from stemma.checkpoints.gguf_blocks import KINDS, Array, Codes, unpack
from stemma.checkpoints.gguf_header import Place, read_gguf_header
from stemma.checkpoints.rules import Entry, make_plan
from stemma.checkpoints.stored import Stored, shapes_of, sizes_of


def read_codes(path: str | Path, stored: Stored) -> Iterator[tuple[str, Codes]]:
    """Our name and the codes of every matrix that the file holds as one of `KINDS`, one tensor of theirs at a time.

    The rules that move whole rows, all that GGUF needs, move codes, scales and minimums alike. Codes of 4 bits run from
    0 to 15, those of Q4_0 too: what they are shifted by becomes their minimum, without loss.

    Args:
        path: the file.
        stored: what `read_gguf` gave for it.
    """
    path = Path(path)
    places = read_gguf_header(path).tensors
    checkpoint = stored.family.checkpoint
    assert checkpoint is not None, "a family that was read from a file has rules"
    assert checkpoint.gguf is not None, "and from a GGUF file, rules for those"
    own = stored.architecture
    plan = make_plan(shapes_of(own), checkpoint.gguf.weights, sizes=sizes_of(own))
    for entry in plan.entries:
        place = places.get(entry.theirs)
        if place is not None and place.kind in KINDS:
            yield from _ours(entry, _read(path, place))


def _read(path: Path, place: Place) -> Codes:
    raw = np.fromfile(path, np.uint8, place.n_bytes, offset=place.start)
    codes = unpack(raw, place.kind, place.shape)
    if place.kind != "Q4_0":
        return codes
    lowest = -8 * codes.scales  # a power of two: exact
    return Codes((codes.codes + np.int8(8)).view(np.uint8), codes.scales, lowest)


def _ours(entry: Entry, codes: Codes) -> Iterator[tuple[str, Codes]]:
    """Each of our matrices that one of theirs is made of."""
    parts = [{} if part is None else dict(entry.read(torch.from_numpy(part))) for part in codes]

    def held(part: int, name: str) -> Array:
        array: Array = parts[part][name].numpy()
        return np.ascontiguousarray(array)

    for name in entry.ours:
        yield name, Codes(held(0, name), held(1, name), held(2, name) if parts[2] else None)
