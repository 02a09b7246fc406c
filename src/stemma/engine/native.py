"""The decoder of the compiled part for a program, and what a torch cache hands over to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from stemma.compiled import compiled
from stemma.engine.packed import PackedMatrix
from stemma.engine.program import Program
from stemma.errors import Fault, InputError
from stemma.nn import Cache


@contextmanager
def refusals(where: str) -> Iterator[None]:
    """What the compiled part refuses, as our exception.

    Args:
        where: the thing at fault.

    Raises:
        InputError: naming the field, its value, the rule and the remedy.
    """
    try:
        yield
    except ValueError as error:
        if len(error.args) != 4:
            raise
        raise InputError(where, Fault(*error.args)) from None


def make_decoder(program: Program) -> Any:
    """The native decoder of a program; see native/decoder.hpp for what it does.

    Args:
        program: from `make_program`.

    Raises:
        InputError: where spec and tensors do not agree, or the compiled part is not installed.
    """
    module = compiled()
    if module is None:
        remedy = "install a C++ compiler and stemma-lm again, or let torch run it"
        raise InputError("native step", Fault("stemma_native", None, "is not installed", remedy))
    with refusals("native step"):
        tensors = {
            name: module.Matrix(tensor.codes, tensor.scales, tensor.minimums)
            if isinstance(tensor, PackedMatrix)
            else tensor
            for name, tensor in program.tensors.items()
        }
        return module.Decoder(dict(program.spec), tensors)


def hand_over(read: Cache, cache: Any) -> None:
    """Give the native step what torch has read: its keys and values, and the encoder's.

    Args:
        read: a cache that torch has filled; padding on the left stays behind.
        cache: of the native decoder, with as many rows.

    Raises:
        InputError: where it is another decoder's, or has no room.
    """
    begins = [0] * read.batch if read.starts is None else read.starts.tolist()
    with refusals("native cache"):
        for layer, held in enumerate(read.layers):
            for row, begin in enumerate(begins):
                first = max(begin, held.first)
                slots = slice(first - held.first, read.length - held.first)
                keys, values = _numbers(held.keys[row, :, slots]), _numbers(held.values[row, :, slots])
                cache.fill(layer, row, keys, values, start=first - begin)
        if read.memory is not None:
            seen = read.memory.scores.bias
            for layer, held in enumerate(read.memory.layers):
                for row in range(read.batch):
                    real = _real(seen, row, held.keys.shape[2])
                    cache.memory(layer, row, _numbers(held.keys[row][:, real]), _numbers(held.values[row][:, real]))


def _real(seen: Bool[Tensor, "B 1 1 T"] | None, row: int, slots: int) -> Tensor:
    return torch.ones(slots, dtype=torch.bool) if seen is None else seen[row, 0, 0]


def _numbers(tensor: Tensor) -> Any:
    return np.ascontiguousarray(tensor.float().numpy())
