"""The number formats of GGUF: blocks of bytes to float32.

Layouts after ggml's ggml-quants.c and ggml-common.h. A block holds a scale and small integers; the K formats cut a
superblock of 256 values into sub-blocks, each with a scale (and an offset) of its own that is quantised in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """One format.

    Args:
        code: its number in a file.
        n_values: values in a block.
        n_bytes: bytes of a block.
        read: bytes (blocks, n_bytes) to values (blocks, n_values) in float32.
    """

    code: int
    n_values: int
    n_bytes: int
    read: Callable[[Tensor], Tensor]


def dequantise(raw: Tensor, kind: str, shape: tuple[int, ...]) -> Tensor:
    """The numbers of a tensor.

    Args:
        raw: its bytes, uint8.
        kind: a name in `BLOCKS`.
        shape: of the result.

    >>> one = torch.tensor([0, 60, *range(32)], dtype=torch.uint8)  # the scale 1.0 in half precision, and 0 to 31
    >>> dequantise(one, "Q8_0", (4, 8))[1].tolist()
    [8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
    """
    block = BLOCKS[kind]
    return block.read(raw.view(-1, block.n_bytes)).reshape(shape)


def _half(blocks: Tensor, at: int) -> Tensor:
    """The half-precision number at a byte of each block, as a column."""
    return blocks[:, at : at + 2].contiguous().view(torch.float16).float()


def _nibbles(packed: Tensor) -> Tensor:
    """Low halves of the bytes, then high halves, along the last axis."""
    return torch.cat([packed & 15, packed >> 4], dim=-1)


def _bits(packed: Tensor, width: int = 1) -> Tensor:
    """Fields of `width` bits, the lowest first, on a new axis before the last."""
    shifts = torch.arange(0, 8, width, dtype=torch.uint8)[:, None]
    return packed[..., None, :] >> shifts & (1 << width) - 1


def _fifth_bit(packed: Tensor) -> Tensor:
    """The 32 bits of four bytes, each worth 16."""
    return _bits(packed).transpose(1, 2).flatten(1) << 4


def _f32(blocks: Tensor) -> Tensor:
    return blocks.view(torch.float32)


def _f16(blocks: Tensor) -> Tensor:
    return blocks.view(torch.float16).float()


def _bf16(blocks: Tensor) -> Tensor:
    return blocks.view(torch.bfloat16).float()


def _q8_0(blocks: Tensor) -> Tensor:
    return blocks[:, 2:].view(torch.int8).float().mul_(_half(blocks, 0))


def _q4_0(blocks: Tensor) -> Tensor:
    return _nibbles(blocks[:, 2:]).float().sub_(8).mul_(_half(blocks, 0))


def _q4_1(blocks: Tensor) -> Tensor:
    return _nibbles(blocks[:, 4:]).float().mul_(_half(blocks, 0)).add_(_half(blocks, 2))


def _q5_0(blocks: Tensor) -> Tensor:
    values = _nibbles(blocks[:, 6:]) | _fifth_bit(blocks[:, 2:6])
    return values.float().sub_(16).mul_(_half(blocks, 0))


def _q5_1(blocks: Tensor) -> Tensor:
    values = _nibbles(blocks[:, 8:]) | _fifth_bit(blocks[:, 4:8])
    return values.float().mul_(_half(blocks, 0)).add_(_half(blocks, 2))


def _scales_and_offsets(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Of the eight sub-blocks, (blocks, 8, 1): six bits each, in twelve bytes after the two outer scales."""
    scale, offset, rest = blocks[:, 4:16].reshape(-1, 3, 4).unbind(1)
    scales = torch.cat([scale & 63, rest & 15 | scale >> 2 & 48], dim=1)
    offsets = torch.cat([offset & 63, rest >> 4 | offset >> 2 & 48], dim=1)
    return (_half(blocks, 0) * scales)[..., None], (_half(blocks, 2) * offsets)[..., None]


def _sub_blocks(packed: Tensor, width: int) -> Tensor:
    """Nibbles in rows of 32 values: bytes lie in runs of `width`, low halves before high ones."""
    return _nibbles(packed.reshape(len(packed), -1, width)).reshape(len(packed), -1, 32)


def _q4_k(blocks: Tensor) -> Tensor:
    scales, offsets = _scales_and_offsets(blocks)
    return _sub_blocks(blocks[:, 16:], 32).float().mul_(scales).sub_(offsets)


def _q5_k(blocks: Tensor) -> Tensor:
    scales, offsets = _scales_and_offsets(blocks)
    values = _sub_blocks(blocks[:, 48:], 32) | _bits(blocks[:, 16:48]) << 4
    return values.float().mul_(scales).sub_(offsets)


def _q6_k(blocks: Tensor) -> Tensor:
    high = _bits(blocks[:, 128:192].reshape(-1, 2, 32), 2).flatten(1, 2)
    values = _sub_blocks(blocks[:, :128], 64) | high << 4
    scales = _half(blocks, 208) * blocks[:, 192:208].view(torch.int8)
    return values.reshape(len(blocks), 16, 16).float().sub_(32).mul_(scales[..., None])


BLOCKS = {
    "F32": Block(0, 1, 4, _f32),
    "F16": Block(1, 1, 2, _f16),
    "BF16": Block(30, 1, 2, _bf16),
    "Q4_0": Block(2, 32, 18, _q4_0),
    "Q4_1": Block(3, 32, 20, _q4_1),
    "Q5_0": Block(6, 32, 22, _q5_0),
    "Q5_1": Block(7, 32, 24, _q5_1),
    "Q8_0": Block(8, 32, 34, _q8_0),
    "Q4_K": Block(12, 256, 144, _q4_k),
    "Q5_K": Block(13, 256, 176, _q5_k),
    "Q6_K": Block(14, 256, 210, _q6_k),
}
TYPES = {block.code: name for name, block in BLOCKS.items()}
