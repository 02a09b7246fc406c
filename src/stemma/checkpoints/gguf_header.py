"""The header of a GGUF file, read within its bounds: nothing in it is believed before it is checked.

Layout after https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Other readers follow an array's length past the
end of the file: a file of 49 bytes that promises 2^63 numbers keeps them busy for good.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stemma.checkpoints.quants import BLOCKS, TYPES
from stemma.errors import CheckpointError, Fault

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_DEEPEST = 3
_LONGEST_NAME = 65_535
_MOST_DIMENSIONS = 4
_AGAIN = "the file is damaged: download or save it again"
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
"""Numbers of the types that an entry's value may have."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", UINT32: "I", INT32: "i", FLOAT32: "f", BOOL: "?", 10: "Q", 11: "q", 12: "d"}
# The fewest bytes that one value of a type takes: no array may promise more of them than the file has room for.
_LEAST = {kind: struct.calcsize(f"<{code}") for kind, code in _SCALARS.items()} | {STRING: 8, ARRAY: 12}


@dataclass(frozen=True)
class Place:
    """Where a tensor lies.

    Args:
        kind: how its numbers are stored, such as "Q4_K".
        shape: its sizes, the longest stride first as in torch.
        start: its first byte in the file.
        n_bytes: how many there are.
    """

    kind: str
    shape: tuple[int, ...]
    start: int
    n_bytes: int


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself.

    Args:
        metadata: its entries.
        tensors: where each tensor lies.
    """

    metadata: Mapping[str, Any]
    tensors: Mapping[str, Place]


def read_gguf_header(path: Path) -> Header:
    """The entries and the tensors of a file.

    Raises:
        CheckpointError: anything that is not as the format has it, or that lies outside the file.
    """
    size = path.stat().st_size
    if size < 24:
        raise CheckpointError(str(path), Fault("size", size, "is too short for a GGUF header of 24 bytes", _AGAIN))
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _Cursor(content, str(path)).header()


class _Cursor:
    """A place in the file that only moves forward, and never past the end."""

    def __init__(self, content: mmap.mmap, where: str) -> None:
        self.content = content
        self.size = len(content)
        self.where = where
        self.at = 0

    def header(self) -> Header:
        magic, version = self.take(4), self.number("I")
        if magic != _MAGIC:
            raise self.wrong("magic", magic, f"must be {_MAGIC!r}", "name a GGUF file")
        if version not in _VERSIONS:
            remedy = "convert it with a current llama.cpp; files for big-endian machines cannot be read"
            raise self.wrong("version", version, "must be 2 or 3", remedy)
        n_tensors = self.count("tensor_count", 33)
        n_entries = self.count("kv_count", 14)
        metadata: dict[str, Any] = {}
        for _ in range(n_entries):
            name = self.name("key")
            if name in metadata:
                raise self.wrong(name, "twice", "may be named once only")
            metadata[name] = self.value(name, self.number("I"), 0)
        tensors = [self.tensor() for _ in range(n_tensors)]
        return Header(metadata, self.placed(tensors, metadata))

    def take(self, length: int) -> bytes:
        if length > self.size - self.at:
            raise self.wrong("length", length, f"must fit the {self.size - self.at} bytes that are left at {self.at}")
        self.at += length
        return self.content[self.at - length : self.at]

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def count(self, field: str, least: int) -> int:
        """How many things follow, each of at least this many bytes."""
        count: int = self.number("Q")
        if count * least > self.size - self.at:
            raise self.wrong(field, count, f"must fit the {self.size - self.at} bytes that are left at {self.at}")
        return count

    def text(self, field: str) -> str:
        raw = self.take(self.count(f"{field} length", 1))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.wrong(field, raw, "must be UTF-8") from None

    def name(self, field: str) -> str:
        name = self.text(field)
        if not 0 < len(name) <= _LONGEST_NAME:
            raise self.wrong(field, name, f"must have 1 to {_LONGEST_NAME} characters")
        return name

    def value(self, name: str, kind: int, depth: int) -> Any:
        if kind == STRING:
            return self.text(name)
        if kind == ARRAY:
            return self.array(name, depth + 1)
        if kind not in _SCALARS:
            raise self.wrong(f"{name} type", kind, "is unknown", "convert it with a current llama.cpp")
        if kind == BOOL:
            byte = self.number("B")
            if byte > 1:
                raise self.wrong(name, byte, "must be 0 or 1")
            return bool(byte)
        value = self.number(_SCALARS[kind])
        # A decimal such as 1e-5 was rounded to 32 bits when written: the shortest one that rounds alike is meant.
        return float(str(np.float32(value))) if kind == FLOAT32 else value

    def array(self, name: str, depth: int) -> list[Any]:
        if depth > _DEEPEST:
            raise self.wrong(name, f"{depth} levels", f"may nest {_DEEPEST} arrays at most")
        kind: int = self.number("I")
        if kind not in _LEAST:
            raise self.wrong(f"{name} type", kind, "is unknown", "convert it with a current llama.cpp")
        count = self.count(f"{name} length", _LEAST[kind])
        if kind in _SCALARS:
            code = _SCALARS[kind]
            raw = np.frombuffer(self.take(count * _LEAST[kind]), np.uint8 if kind == BOOL else f"<{code}")
            if kind == BOOL and count and raw.max() > 1:
                raise self.wrong(name, int(raw.max()), "must hold 0 and 1")
            values: list[Any] = (raw.astype(bool) if kind == BOOL else raw).tolist()
            return values
        return [self.value(name, kind, depth) for _ in range(count)]

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """A tensor's name, shape, type and offset."""
        name = self.name("tensor name")
        n_dimensions = self.number("I")
        if not 1 <= n_dimensions <= _MOST_DIMENSIONS:
            raise self.wrong(f"{name} n_dims", n_dimensions, f"must be 1 to {_MOST_DIMENSIONS}")
        shape = tuple(self.number("Q") for _ in range(n_dimensions))[::-1]
        kind: int = self.number("I")
        offset: int = self.number("Q")
        return name, shape, kind, offset

    def placed(
        self, tensors: list[tuple[str, tuple[int, ...], int, int]], metadata: Mapping[str, Any]
    ) -> dict[str, Place]:
        """Where each tensor lies, once all of them are known to lie inside the file and apart."""
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 8 <= alignment <= 65_536 or alignment & (alignment - 1):
            raise self.wrong("general.alignment", alignment, "must be a power of two from 8 to 65536")
        begin = -(-self.at // alignment) * alignment
        faults: list[Fault] = []
        found: dict[str, Place] = {}
        for name, shape, kind, offset in tensors:
            if name in found:
                faults.append(Fault(name, "twice", "may be named once only", _AGAIN))
            elif kind not in TYPES:
                faults.append(Fault(f"{name} type", kind, "cannot be read", f"use one of {', '.join(BLOCKS)}"))
            elif min(shape) < 1 or shape[-1] % BLOCKS[TYPES[kind]].n_values:
                rule = f"must have rows of whole blocks of {BLOCKS[TYPES[kind]].n_values}"
                faults.append(Fault(f"{name} shape", list(shape), rule, _AGAIN))
            else:
                block = BLOCKS[TYPES[kind]]
                n_bytes = math.prod(shape) // block.n_values * block.n_bytes
                if offset % alignment or begin + offset + n_bytes > self.size:
                    room = self.size - begin
                    rule = f"and its {n_bytes} bytes must fit the {room} bytes of data, aligned to {alignment}"
                    faults.append(Fault(f"{name} offset", offset, rule, _AGAIN))
                found[name] = Place(TYPES[kind], shape, begin + offset, n_bytes)
        end = begin
        for name, place in sorted(found.items(), key=lambda item: item[1].start):
            if place.start < end:
                faults.append(Fault(f"{name} offset", place.start - begin, "overlaps another tensor", _AGAIN))
            end = max(end, place.start + place.n_bytes)
        if faults:
            raise CheckpointError(self.where, faults)
        return found

    def wrong(self, field: str, value: object, rule: str, remedy: str = _AGAIN) -> CheckpointError:
        return CheckpointError(self.where, Fault(field, value, rule, remedy))
