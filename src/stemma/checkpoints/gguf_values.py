"""Entries and names as the bytes of a GGUF header: what `gguf_header` reads, the other way."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stemma.checkpoints.gguf_blocks import Array
from stemma.checkpoints.gguf_header import ARRAY, BOOL, FLOAT32, INT32, STRING, UINT32
from stemma.checkpoints.quants import BLOCKS
from stemma.checkpoints.rules import Shape
from stemma.errors import CheckpointError, Fault

ALIGNMENT = 32
"""Bytes, to a multiple of which every tensor begins."""

_VERSION = 3


def header(entries: Mapping[str, Any], tensors: Sequence[tuple[str, Shape, str]]) -> bytes:
    """The bytes before the first tensor; each tensor follows the one before it at the next multiple of `ALIGNMENT`.

    Args:
        entries: whole numbers, decimals, truths, strings, and lists of one of these.
        tensors: name, shape and type of each, in their order.

    Raises:
        CheckpointError: naming every number that the format cannot hold.
    """
    if faults := [fault for name, value in entries.items() for fault in _faults(name, value)]:
        raise CheckpointError("gguf header", faults)
    parts = [b"GGUF", struct.pack("<IQQ", _VERSION, len(tensors), len(entries))]
    for name, value in entries.items():
        kind, content = _value(value)
        parts.append(_text(name) + struct.pack("<I", kind) + content)
    offset = 0
    for name, shape, numbers in tensors:
        block = BLOCKS[numbers]
        sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        parts.append(_text(name) + sizes + struct.pack("<IQ", block.code, offset))
        offset += _filled(math.prod(shape) // block.n_values * block.n_bytes)
    content = b"".join(parts)
    return content.ljust(_filled(len(content)), b"\0")


def _filled(size: int) -> int:
    """A size, filled up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _faults(name: str, value: object) -> list[Fault]:
    match value:
        case bool() | str() | list():
            return []
        case int() if not 0 <= value < 1 << 32:
            return [Fault(name, value, "must fit 32 bits without a sign", "write it as --to hf")]
        case float() if float(str(np.float32(value))) != value:
            return [Fault(name, value, "must be a decimal that 32 bits tell apart", "write it as --to hf")]
    return []


def _value(value: Any) -> tuple[int, bytes]:
    """The number of a value's type, and its bytes."""
    match value:
        case bool():
            return BOOL, struct.pack("<?", value)
        case int():
            return UINT32, struct.pack("<I", value)
        case float():
            return FLOAT32, struct.pack("<f", value)
        case str():
            return STRING, _text(value)
        case [str(), *_]:
            return ARRAY, struct.pack("<IQ", STRING, len(value)) + b"".join(map(_text, value))
        case [float(), *_]:
            return ARRAY, struct.pack("<IQ", FLOAT32, len(value)) + _numbers(value, "<f4")
        case [int(), *_]:
            return ARRAY, struct.pack("<IQ", INT32, len(value)) + _numbers(value, "<i4")
    raise AssertionError(f"no entry holds {value!r}")


def _numbers(values: Sequence[float], kind: str) -> bytes:
    array: Array = np.asarray(values, kind)
    return array.tobytes()


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw
