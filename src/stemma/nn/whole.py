"""Attention of whole texts in half precision by the compiled part, where it is installed and the processor has it."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from stemma.compiled import compiled

WIDTHS, MOST_KEYS = (32, 64), 2048
"""Channels of a head, and keys of a text, that it computes."""


def serves_here() -> bool:
    """Whether the compiled part is installed and has a way for this processor."""
    native = compiled()
    return native is not None and native.attends_whole()


def serves(query: Tensor, key: Tensor) -> bool:
    """Whether it computes heads and lengths like these."""
    return query.shape[3] in WIDTHS and key.shape[2] <= MOST_KEYS and serves_here()


def attend_compiled(
    query: Float[Tensor, "B H S K"],
    key: Float[Tensor, "B G T K"],
    value: Float[Tensor, "B G T K"],
    shown: Bool[Tensor, "rows 1 queries T"] | None,
    scale: float,
) -> Float[Tensor, "B H S K"]:
    """softmax(scale Q K^T) V over the keys that are shown; see `stemma.nn.attention.attend`.

    Args:
        query: B H S K, with channels side by side, in bfloat16 like the others.
        key: B G T K.
        value: B G T K.
        shown: True where a query sees a key; an axis of one stands for all. Last keys that no query nearby
            sees cost nothing.
        scale: the factor on the products.
    """
    texts, heads, n_queries, width = query.shape
    # As the next map reads it: the heads of a token side by side.
    mixed = query.new_empty(texts, n_queries, heads, width).transpose(1, 2)
    compiled().attend_whole(query, key, value, mixed, scale, shown, *_team(), torch.get_num_threads())
    return mixed


@cache
def _team() -> tuple[int, int]:
    """Where the functions of torch's own team of threads lie; (0, 0) where it has none of this kind."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    # Looked up through torch: other packages bring teams of their own, which would wait for work on the same cores.
    team = ctypes.CDLL(str(library)) if library.is_file() else None
    functions: list[Any] = [getattr(team, name, None) for name in ("GOMP_parallel", "omp_get_thread_num")]
    if None in functions:
        return 0, 0
    every, number = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions)
    return every, number
