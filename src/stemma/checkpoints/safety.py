"""What a file says of itself, checked before any other reader believes it: JSON and the header of safetensors."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stemma.checkpoints.rules import Info
from stemma.errors import CheckpointError, Fault

# The format's own limit: https://github.com/huggingface/safetensors, "Format".
_LONGEST_HEADER = 100_000_000
_LONGEST_JSON = 1_000_000_000
_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8,
    "F16": 2, "BF16": 2, "F32": 4, "F64": 8,
}  # fmt: skip
_FLOATING = frozenset({"F16", "BF16", "F32", "F64"})
_AGAIN = "the file is damaged: download or save it again"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: it cannot be read, is no JSON object, or names one key twice.
    """
    try:
        if path.stat().st_size > _LONGEST_JSON:
            raise CheckpointError(str(path), Fault("size", path.stat().st_size, f"exceeds {_LONGEST_JSON}", _AGAIN))
        content = path.read_bytes()
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        raise CheckpointError(str(path), Fault("file", path.name, rule, "name another file")) from None
    return parse_json(content, str(path))


def parse_json(content: bytes, where: str) -> dict[str, Any]:
    """The object in a JSON text; `where` names it in errors."""
    twice: list[str] = []

    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.extend(name for name, times in Counter(name for name, _ in entries).items() if times > 1)
        return dict(entries)

    try:
        value = json.loads(content, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(where, Fault("content", content[:40], f"is no JSON: {error}", _AGAIN)) from None
    if twice:
        raise CheckpointError(where, [Fault(name, "twice", "may be named once only", _AGAIN) for name in twice])
    if not isinstance(value, dict):
        raise CheckpointError(where, Fault("content", value, "must be a JSON object", _AGAIN))
    return value


def read_safetensors_header(path: Path) -> dict[str, Info]:
    """The tensors that a safetensors file holds, once its header is known to be true.

    Raises:
        CheckpointError: a header that is too long or no JSON, an unknown type, sizes that do not follow from the
            shapes, tensors that overlap, leave gaps or lie outside the file: all of them named.
    """
    where = str(path)
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            rule = f"must fit a file of {size} bytes and be at most {_LONGEST_HEADER}"
            raise CheckpointError(where, Fault("header length", length, rule, _AGAIN))
        header = parse_json(stream.read(length), where)
    header.pop("__metadata__", None)
    faults: list[Fault] = []
    spans: list[tuple[int, int, str]] = []
    infos = {}
    for name, entry in header.items():
        if (span := _span(name, entry, faults)) is not None:
            spans.append((*span, name))
            infos[name] = Info(tuple(entry["shape"]), entry["dtype"] in _FLOATING)
    end = 0
    for start, stop, name in sorted(spans):
        if start != end:
            rule = f"must begin where the last tensor ends, at {end}"
            faults.append(Fault(f"{name}.data_offsets", [start, stop], rule, _AGAIN))
        end = stop
    if end != size - 8 - length and not faults:
        faults.append(Fault("data", size - 8 - length, f"must be {end} bytes long", _AGAIN))
    if faults:
        raise CheckpointError(where, faults)
    return infos


def _span(name: str, entry: object, faults: list[Fault]) -> tuple[int, int] | None:
    """Where a tensor's bytes lie, if its entry is sound."""
    if not isinstance(entry, Mapping) or set(entry) != {"dtype", "shape", "data_offsets"}:
        faults.append(Fault(name, entry, "must hold dtype, shape and data_offsets", _AGAIN))
        return None
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _SIZES:
        faults.append(Fault(f"{name}.dtype", dtype, "cannot be read", f"use one of {', '.join(_SIZES)}"))
    elif not _whole(shape):
        faults.append(Fault(f"{name}.shape", shape, "must be a list of sizes", _AGAIN))
    elif not _whole(offsets) or len(offsets) != 2:
        faults.append(Fault(f"{name}.data_offsets", offsets, "must be two places in the file", _AGAIN))
    elif offsets[1] - offsets[0] != math.prod(shape) * _SIZES[dtype]:
        rule = f"must span {math.prod(shape) * _SIZES[dtype]} bytes: {dtype} of shape {shape}"
        faults.append(Fault(f"{name}.data_offsets", offsets, rule, _AGAIN))
    else:
        return offsets[0], offsets[1]
    return None


def _whole(values: object) -> bool:
    """Whether a value is a short list of numbers that fit 64 bits."""
    if not isinstance(values, list) or len(values) > 16:
        return False
    return all(type(value) is int and 0 <= value < 2**63 for value in values)
