"""A matrix as small integers: groups of 32 values of a row share a scale, and with 4 bits a minimum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stemma.errors import Fault, InputError

GROUP = 32
"""Values that share a scale."""

Array = NDArray[Any]

# Groups that are searched together: what is computed of them stays in the processor's cache.
_TOGETHER = 2048
# Scales that are tried: those with which the span of a group has so many steps more or less than there are.
_TRIED = (-1.2, -0.6, -0.3, 0.0, 0.4, 0.9, 1.6)
_LARGEST_HALF = 65504.0


@dataclass(frozen=True, eq=False)
class PackedMatrix:
    """value = scale * code + minimum, as in GGUF's Q4_1 and Q8_0.

    Args:
        codes: of N rows and K columns: uint8 up to 15 for 4 bits, or int8 for 8 bits.
        scales: float16 (N, ceil(K / 32)).
        minimums: float16 of the same shape with 4 bits; None with 8 bits.

    Raises:
        InputError: where types or shapes do not fit together.
    """

    codes: Array
    scales: Array
    minimums: Array | None = None

    def __post_init__(self) -> None:
        if faults := list(self._faults()):
            raise InputError("packed matrix", faults)

    @property
    def bits(self) -> Literal[4, 8]:
        """Of a code."""
        return 4 if self.codes.dtype == np.uint8 else 8

    @property
    def shape(self) -> tuple[int, int]:
        """N and K."""
        rows, columns = self.codes.shape
        return rows, columns

    @property
    def n_bytes(self) -> int:
        """Of its codes, scales and minimums."""
        return self.codes.size * self.bits // 8 + 2 * self.scales.size * (1 if self.minimums is None else 2)

    def dequantised(self) -> NDArray[np.float32]:
        """The values, float32 (N, K).

        >>> codes = np.arange(4, dtype=np.uint8)[None]
        >>> scale, minimum = np.array([[0.5]], np.float16), np.array([[-1.0]], np.float16)
        >>> PackedMatrix(codes, scale, minimum).dequantised().tolist()
        [[-1.0, -0.5, 0.0, 0.5]]
        """
        values = self.codes.astype(np.float32) * self._spread(self.scales)
        return values if self.minimums is None else values + self._spread(self.minimums)

    def _spread(self, by_group: Array) -> NDArray[np.float32]:
        return by_group.astype(np.float32).repeat(GROUP, 1)[:, : self.codes.shape[1]]

    def _faults(self) -> Iterator[Fault]:
        codes, scales, minimums = self.codes, self.scales, self.minimums
        if codes.ndim != 2 or codes.dtype not in (np.uint8, np.int8):
            rule = "must be a matrix of uint8 (4 bits) or int8 (8 bits)"
            yield Fault("codes", (codes.dtype.name, codes.shape), rule, "give such a matrix")
            return
        shape = len(codes), -(-codes.shape[1] // GROUP)
        if scales.dtype != np.float16 or scales.shape != shape:
            rule = f"must be float16 {shape}: one for each {GROUP} columns"
            yield Fault("scales", (scales.dtype.name, scales.shape), rule, "give as many")
        if (minimums is not None) != (codes.dtype == np.uint8):
            rule = "must be given with 4 bits, and not with 8"
            yield Fault("minimums", None if minimums is None else minimums.shape, rule, "give what the codes need")
        elif minimums is not None and (minimums.dtype != np.float16 or minimums.shape != shape):
            yield Fault("minimums", (minimums.dtype.name, minimums.shape), f"must be float16 {shape}", "give as many")
        if codes.dtype == np.uint8 and codes.size and codes.max() > 15:
            yield Fault("codes", int(codes.max()), "must be at most 15", "use int8 for more")


def pack(values: Array, bits: int) -> PackedMatrix:
    """Quantise a matrix.

    With 8 bits the largest value of a group becomes 127. With 4 bits several scales are tried, each with the scale and
    minimum that then lie closest to the values (least squares), and the best is kept, as in llama.cpp's K-quants
    (ggml-quants.c, make_qkx2_quants).

    Args:
        values: N K, of any floating type.
        bits: 4 or 8.

    Raises:
        InputError: another number of bits, or values that half-precision scales cannot hold.

    >>> packed = pack(np.linspace(-1, 2, 64).reshape(1, 64), 4)
    >>> float(abs(packed.dequantised() - np.linspace(-1, 2, 64)).max().round(3))
    0.024
    """
    if bits not in (4, 8):
        raise InputError("quantisation", Fault("bits", bits, "must be 4 or 8", "use 4 or 8"))
    values = np.asarray(values, np.float32)
    largest = float(abs(values).max(initial=0.0))
    if not largest <= _LARGEST_HALF:
        rule = f"is the largest weight, which must be finite and at most {_LARGEST_HALF:.0f}"
        raise InputError("quantisation", Fault("values", largest, rule, "leave this matrix in floating point"))
    rows, columns = values.shape
    whole = -(-columns // GROUP) * GROUP
    if whole > columns:
        # The last value stands for what is missing, so that it widens no group.
        values = np.pad(values, ((0, 0), (0, whole - columns)), mode="edge")
    groups = values.reshape(-1, GROUP)
    parts = [
        (_eight if bits == 8 else _four)(part) for part in np.split(groups, range(_TOGETHER, len(groups), _TOGETHER))
    ]
    codes, scales, minimums = (np.concatenate(of_part) for of_part in zip(*parts, strict=True))
    return PackedMatrix(
        np.ascontiguousarray(codes.reshape(rows, whole)[:, :columns]),
        scales.reshape(rows, -1),
        minimums.reshape(rows, -1) if bits == 4 else None,
    )


def _eight(groups: NDArray[np.float32]) -> tuple[Array, Array, Array]:
    scale = (abs(groups).max(1, keepdims=True) / 127).astype(np.float16)
    codes = np.rint(_divided(groups, scale)).clip(-127, 127).astype(np.int8)
    return codes, scale, np.zeros_like(scale)


def _four(groups: NDArray[np.float32]) -> tuple[Array, Array, Array]:
    low, high = groups.min(1, keepdims=True), groups.max(1, keepdims=True)
    span = high - low
    # In steps of the group's own span, from its lowest value, sums of squares lose no digits.
    inside = _divided(groups - low, span)
    total, squares = inside.sum(1), np.einsum("gk,gk->g", inside, inside)
    best_scale, best_minimum = np.zeros_like(total), np.zeros_like(total)
    best = np.full_like(total, np.inf)
    for more in _TRIED:
        codes = np.rint(inside * np.float32(15 + more)).clip(0, 15)
        sum_1, sum_2, sum_x = codes.sum(1), np.einsum("gk,gk->g", codes, codes), np.einsum("gk,gk->g", codes, inside)
        spread = GROUP * sum_2 - sum_1 * sum_1
        scale = _divided(GROUP * sum_x - total * sum_1, spread)
        minimum = (total - scale * sum_1) / GROUP
        error = squares - minimum * total - scale * sum_x
        better = error < best
        best, best_scale = np.where(better, error, best), np.where(better, scale, best_scale)
        best_minimum = np.where(better, minimum, best_minimum)
    scales = (best_scale[:, None] * span).astype(np.float16)
    minimums = (best_minimum[:, None] * span + low).astype(np.float16)
    codes = np.rint(_divided(groups - minimums.astype(np.float32), scales)).clip(0, 15).astype(np.uint8)
    return codes, scales, minimums


def _divided(numbers: Array, by: Array) -> NDArray[np.float32]:
    """Numbers by others; 0 where these are 0."""
    by = by.astype(np.float32)
    return numbers * np.divide(1, by, out=np.zeros_like(by), where=by != 0)
