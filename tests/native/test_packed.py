"""Quantised matrices in numpy, and as the compiled part reads them, on every instruction set of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.compiled import compiled
from stemma.engine import PackedMatrix, pack
from stemma.errors import InputError

stemma_native = compiled() or pytest.skip("the compiled part is not installed", allow_module_level=True)

each_width = pytest.mark.parametrize("bits", [4, 8])
each_set = pytest.mark.parametrize("isa", stemma_native.isas())


@pytest.fixture(autouse=True)
def _usual_set() -> Iterator[None]:
    usual = stemma_native.isa()
    yield
    stemma_native.use_isa(usual)


def drawn(rows: int, columns: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def packed_natively(matrix: PackedMatrix) -> Any:
    return stemma_native.Matrix(matrix.codes, matrix.scales, matrix.minimums)


@each_width
def test_quantised_values_lie_close(bits: int) -> None:
    """Within half a step of the group's scale, and for 4 bits closer than the span of the values divided evenly."""
    values = drawn(60, 100)
    packed = pack(values, bits)
    error = packed.dequantised() - values
    assert packed.shape == values.shape
    assert packed.bits == bits
    assert float(np.sqrt((error**2).mean())) < {4: 0.077, 8: 0.006}[bits]


def test_the_search_finds_less_error_than_the_span() -> None:
    """Scales and minimums that are searched beat those of the lowest and highest value."""
    values = drawn(64, 32, seed=1)
    low, span = values.min(1, keepdims=True), np.ptp(values, axis=1, keepdims=True)
    plain = np.rint((values - low) / span * 15) / 15 * span + low
    found = pack(values, 4).dequantised()
    assert float(((found - values) ** 2).sum()) < 0.93 * float(((plain - values) ** 2).sum())


@each_width
def test_what_is_packed_is_packed_without_loss(bits: int) -> None:
    """Values that are codes already come back as they were."""
    generator = np.random.default_rng(2)
    codes = generator.integers(0, 16, (8, 64)) if bits == 4 else generator.integers(-127, 128, (8, 64))
    codes[:, ::32], codes[:, 1::32] = (0, 15) if bits == 4 else (-127, 127)
    values = (codes * 0.25 - (2 if bits == 4 else 0)).astype(np.float32)
    assert np.array_equal(pack(values, bits).dequantised(), values)


@pytest.mark.parametrize(("field", "values"), [("values", [[np.inf]]), ("values", [[1e6]]), ("values", [[np.nan]])])
def test_what_half_precision_cannot_hold_is_refused(field: str, values: Any) -> None:
    """A weight that is infinite, too large or no number."""
    with pytest.raises(InputError, match=field):
        pack(np.array(values), 4)


def test_every_fault_of_a_matrix_is_named() -> None:
    """Scales of the wrong shape and minimums where there are none, at once."""
    with pytest.raises(InputError, match="2 faults"):
        PackedMatrix(np.zeros((2, 40), np.int8), np.zeros((2, 1), np.float16), np.zeros((2, 2), np.float16))
    with pytest.raises(InputError, match="at most 15"):
        PackedMatrix(np.full((1, 2), 16, np.uint8), np.ones((1, 1), np.float16), np.ones((1, 1), np.float16))


@each_width
@given(rows=st.integers(1, 50), columns=st.integers(1, 200), seed=st.integers(0, 9))
def test_rows_are_read_as_they_were_packed(bits: int, rows: int, columns: int, seed: int) -> None:
    """Every row, whatever the sizes."""
    packed = pack(drawn(rows, columns, seed), bits)
    matrix = packed_natively(packed)
    assert tuple(matrix.shape) == (rows, columns)
    assert np.array_equal(np.stack([matrix.row(row) for row in range(rows)]), packed.dequantised())


@each_set
@each_width
@given(rows=st.integers(1, 50), columns=st.integers(1, 200), n=st.integers(1, 19), seed=st.integers(0, 9))
def test_products(isa: str, bits: int, rows: int, columns: int, n: int, seed: int) -> None:
    """Each instruction set gives what the portable one does, but for codes on an edge, and nearly the exact product."""
    packed, x = pack(drawn(rows, columns, seed), bits), drawn(n, columns, seed + 1) * 3
    matrix, exact = packed_natively(packed), x @ packed.dequantised().T
    size = float(abs(exact).max()) + 1
    for activation_bits, tolerance in {8: 4e-2, 16: 2e-4}.items():
        stemma_native.use_isa("portable")
        portable = matrix.product(x, activation_bits)
        stemma_native.use_isa(isa)
        ours = matrix.product(x, activation_bits)
        assert abs(ours - portable).max() < tolerance / 2 * size
        assert abs(ours - portable).mean() < 5e-5 * size
        assert abs(ours - exact).max() < tolerance * size


@each_set
def test_the_largest_codes_do_not_overflow(isa: str) -> None:
    """All codes and activations at their ends, which fills the integers most."""
    stemma_native.use_isa(isa)
    x = np.tile(np.array([[1.0], [-1.0]], np.float32), (1, 64))
    for codes in (np.full((16, 64), -128, np.int8), np.full((16, 64), 127, np.int8), np.full((16, 64), 15, np.uint8)):
        scales = np.ones((16, 2), np.float16)
        packed = PackedMatrix(codes, scales, scales if codes.dtype == np.uint8 else None)
        for activation_bits in (8, 16):
            ours = packed_natively(packed).product(x, activation_bits)
            assert np.allclose(ours, x @ packed.dequantised().T, rtol=1e-6)


@each_set
def test_what_is_no_number_does_not_pass_unseen(isa: str) -> None:
    """One infinite or missing number of a row makes its products no numbers; other rows are as they were."""
    stemma_native.use_isa(isa)
    matrix, x = packed_natively(pack(drawn(20, 64), 4)), drawn(3, 64)
    x[0, 5], x[2, 40] = np.nan, np.inf
    ours = matrix.product(x)
    assert not np.isfinite(ours[[0, 2]]).any()
    assert np.isfinite(ours[1]).all()
