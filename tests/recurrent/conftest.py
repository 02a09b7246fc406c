"""Inputs for recurrent networks, whatever they read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from stemma.spec import Recurrent
from stemma.spec.recurrent_parts import Characters, Vectors, Words

Texts = Callable[..., torch.Tensor]


def draw(spec: Recurrent, rows: int = 3, length: int = 8, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """Random tokens as the architecture reads them."""
    generator = torch.Generator().manual_seed(seed)
    match spec.tokens:
        case Words(vocab_size=vocab_size):
            return torch.randint(vocab_size, (rows, length), generator=generator)
        case Characters(n_characters=n_characters, max_characters=n):
            return torch.randint(1, n_characters, (rows, length, n), generator=generator)
        case Vectors(d_embedding=width):
            return torch.randn(rows, length, width, generator=generator, dtype=torch.float64).to(dtype)


@pytest.fixture(scope="session")
def texts() -> Texts:
    """Makes random tokens: `texts(spec, rows, length)`."""
    return draw
