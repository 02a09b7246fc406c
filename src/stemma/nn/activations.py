"""The non-linear functions of networks, by the names of the design."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from stemma.spec.parts import Activation


def gelu_sigmoid(x: Tensor) -> Tensor:
    """GELU's cheapest approximation, x sigmoid(1.702 x) (Hendrycks and Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATION_FUNCTIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "gelu_sigmoid": gelu_sigmoid,
    "silu": functional.silu,
}

IN_PRODUCTS: Mapping[Activation, tuple[str, str]] = {
    "relu": ("relu", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "silu": ("swish", ""),
}
"""Those that a product of oneDNN computes itself: its name of each, and of its kind."""
