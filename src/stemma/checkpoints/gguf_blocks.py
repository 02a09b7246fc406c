"""GGUF's blocks of 32 numbers as whole numbers with a scale, and back, without loss.

Layouts and rounding after ggml's ggml-quants.c, bit for bit as the package `gguf` has them. The superblocks of the K
formats are no such thing: `quants.dequantise` reads those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stemma.checkpoints.quants import BLOCKS

Array = np.ndarray[Any, np.dtype[Any]]

WIDTH = 32
"""Numbers in a block."""

LARGEST = float(np.finfo(np.float16).max)
"""No scale and no minimum may be larger, and so no number of a tensor that is quantised."""


class Codes(NamedTuple):
    """A quantised matrix: the number at a place is scale * code + minimum of its block.

    Args:
        codes: int8 or, where there are minimums, uint8; of the matrix's shape.
        scales: float16, one for each block of 32 along the last axis.
        minimums: float16, of the same shape; None where every one is zero.
    """

    codes: Array
    scales: Array
    minimums: Array | None


@dataclass(frozen=True)
class _Layout:
    """How a block is written.

    Args:
        bits: of a code.
        zero: what is added to a code so that none is negative.
        minimum: whether a minimum follows the scale.
        quantise: numbers (blocks, 32) to codes, scales (blocks, 1) and minimums.
    """

    bits: int
    zero: int
    minimum: bool
    quantise: Callable[[Array], tuple[Array, Array, Array]]


def unpack(raw: Array, kind: str, shape: tuple[int, ...]) -> Codes:
    """Read blocks.

    Args:
        raw: their bytes.
        kind: a name in `KINDS`.
        shape: of the matrix; its last axis is in whole blocks.

    >>> one = np.array([0, 60, 0, 0, *[0x21] * 16], dtype=np.uint8)  # scale 1.0, minimum 0.0, low halves 1, high ones 2
    >>> unpack(one, "Q4_1", (1, 32)).codes[0, [0, 31]].tolist()
    [1, 2]
    """
    layout = KINDS[kind]
    blocks = raw.reshape(-1, BLOCKS[kind].n_bytes)
    head = 4 if layout.minimum else 2
    halves = np.ascontiguousarray(blocks[:, :head]).view("<f2")
    body = blocks[:, head:]
    stored = np.concatenate([body & 15, body >> 4], axis=1) if layout.bits == 4 else body
    codes = stored if layout.minimum else stored.view(np.int8) - np.int8(layout.zero)
    grid = (*shape[:-1], shape[-1] // WIDTH)
    minimums = halves[:, 1].reshape(grid) if layout.minimum else None
    return Codes(np.ascontiguousarray(codes).reshape(shape), halves[:, 0].reshape(grid), minimums)


def pack(codes: Codes, kind: str) -> Array:
    """Write blocks: the inverse of `unpack`.

    Args:
        codes: as `unpack` or `quantise` gives them for this kind.
        kind: a name in `KINDS`.

    Returns:
        uint8 (blocks, bytes of a block).
    """
    layout = KINDS[kind]
    parts = [codes.scales] + ([] if codes.minimums is None else [codes.minimums])
    stored = codes.codes.reshape(-1, WIDTH)
    stored = stored if layout.minimum else (stored + np.int8(layout.zero)).view(np.uint8)
    body = stored[:, : WIDTH // 2] | stored[:, WIDTH // 2 :] << 4 if layout.bits == 4 else stored
    heads = [np.ascontiguousarray(part.reshape(-1, 1), "<f2").view(np.uint8) for part in parts]
    return np.concatenate([*heads, body], axis=1)


def dequantise(codes: Codes) -> Array:
    """The float32 numbers of a quantised matrix, bit for bit those of `quants.dequantise`."""
    values = codes.codes.reshape(-1, WIDTH).astype(np.float32)
    values *= codes.scales.reshape(-1, 1).astype(np.float32)
    if codes.minimums is not None:
        values += codes.minimums.reshape(-1, 1).astype(np.float32)
    return values.reshape(codes.codes.shape)


def quantise(values: Array, kind: str) -> Codes:
    """The codes that ggml's reference gives to numbers.

    Args:
        values: float32, none above `LARGEST`; the last axis is in whole blocks.
        kind: a name in `KINDS`.

    >>> codes = quantise(np.linspace(-1, 1, 32, dtype=np.float32)[None], "Q8_0")
    >>> codes.codes[0, [0, 31]].tolist(), float(codes.scales[0, 0])
    ([-127, 127], 0.00787353515625)
    """
    layout = KINDS[kind]
    codes, scales, minimums = layout.quantise(values.reshape(-1, WIDTH))
    grid = (*values.shape[:-1], values.shape[-1] // WIDTH)
    halves = [part.astype(np.float16).reshape(grid) for part in (scales, minimums)]
    whole = codes.astype(np.uint8 if layout.minimum else np.int8).reshape(values.shape)
    return Codes(whole, halves[0], halves[1] if layout.minimum else None)


def _inverse(scales: Array) -> Array:
    """One by each; 0 where that is no finite number, for such a block is 0 in half precision."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scales
    inverse[~np.isfinite(inverse)] = 0
    return inverse


def _q4_0(blocks: Array) -> tuple[Array, Array, Array]:
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1, keepdims=True), axis=1)
    scales = extreme / np.float32(-8)
    stored = np.trunc(blocks * _inverse(scales) + np.float32(8.5)).clip(0, 15)
    return stored - 8, scales, np.zeros_like(scales)


def _q4_1(blocks: Array) -> tuple[Array, Array, Array]:
    low, high = blocks.min(axis=1, keepdims=True), blocks.max(axis=1, keepdims=True)
    scales = (high - low) / np.float32(15)
    return np.trunc((blocks - low) * _inverse(scales) + np.float32(0.5)).clip(0, 15), scales, low


def _q8_0(blocks: Array) -> tuple[Array, Array, Array]:
    scales = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    scaled = blocks * _inverse(scales)
    size = np.abs(scaled)
    # Halves go away from zero, as C rounds.
    whole = np.floor(size)
    whole += np.floor(2 * (size - whole))
    return np.copysign(whole, scaled), scales, np.zeros_like(scales)


KINDS = {
    "Q4_0": _Layout(4, 8, False, _q4_0),
    "Q4_1": _Layout(4, 0, True, _q4_1),
    "Q8_0": _Layout(8, 0, False, _q8_0),
}
"""The formats that are codes with a scale, by their names."""
