"""A bounded reader of the protocol-buffer wire format, enough for SentencePiece models."""

from __future__ import annotations

import struct
from collections.abc import Iterator

Field = tuple[int, int | bytes]

_FIXED = {1: 8, 5: 4}


class WireError(Exception):
    """The bytes do not follow the wire format; the text says where and how."""


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for count in range(10):
        if place + count >= len(data):
            raise WireError(f"a number runs past the end at byte {place}")
        byte = data[place + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise WireError(f"a number is longer than ten bytes at byte {place}")


def fields(data: bytes | memoryview) -> Iterator[Field]:
    """Read the fields of one message: the number of each, and an integer or bytes.

    Args:
        data: the message; no length in it is believed that reaches past its end.

    Raises:
        WireError: the bytes are cut off, or are no message.

    >>> list(fields(bytes([0x08, 0x96, 0x01, 0x12, 0x02, 0x68, 0x69])))
    [(1, 150), (2, b'hi')]
    """
    view = memoryview(data)
    place = 0
    while place < len(view):
        key, place = _varint(view, place)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError(f"a field has the number 0 at byte {place}")
        if kind == 0:
            value, place = _varint(view, place)
            yield number, value
            continue
        if kind == 2:
            size, place = _varint(view, place)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise WireError(f"a field has the unknown type {kind} at byte {place}")
        if size > len(view) - place:
            raise WireError(f"a field of {size} bytes runs past the end at byte {place}")
        yield number, bytes(view[place : place + size])
        place += size


def number_of(value: int | bytes) -> int:
    """A field's value as a signed 64-bit integer.

    >>> number_of(2**64 - 1)
    -1
    """
    if isinstance(value, bytes):
        raise WireError("a number was expected where bytes stand")
    return value - (1 << 64) if value >= 1 << 63 else value


def bytes_of(value: int | bytes) -> bytes:
    """A field's value as bytes."""
    if isinstance(value, int):
        raise WireError("bytes were expected where a number stands")
    return value


def text_of(value: int | bytes) -> str:
    """A field's value as UTF-8 text."""
    try:
        return bytes_of(value).decode()
    except UnicodeDecodeError as error:
        raise WireError(f"a text is no UTF-8: {error.reason}") from error


def float_of(value: int | bytes) -> float:
    """A field's value as a 32-bit float."""
    raw = bytes_of(value)
    if len(raw) != 4:
        raise WireError(f"a float has {len(raw)} bytes")
    (number,) = struct.unpack("<f", raw)
    return float(number)
