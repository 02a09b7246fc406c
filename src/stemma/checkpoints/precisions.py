"""In which precision a model may be held."""

from __future__ import annotations

import torch

from stemma.errors import Fault, InputError

PRECISIONS = ("float32", "bfloat16", "float16", "float64")


def precision_of(name: str | torch.dtype) -> torch.dtype:
    """The type of this name.

    Args:
        name: one of `PRECISIONS`, or the type itself.

    Raises:
        InputError: it is none of them.
    """
    if isinstance(name, torch.dtype):
        return name
    if name not in PRECISIONS:
        raise InputError("load", Fault("dtype", name, "is unknown", f"use one of {', '.join(PRECISIONS)}"))
    found: torch.dtype = getattr(torch, name)
    return found
