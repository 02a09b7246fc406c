"""The exponential moving average of what learns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Average:
    """A second set of parameters, each the mean over the steps, the newer the heavier (Polyak and Juditsky 1992).

    Early on a step weighs more, min(decay, (1 + n) / (10 + n)) as in TensorFlow's: first values are soon forgotten.

    Args:
        parameters: what is averaged, by name.
        decay: what is kept of the mean at each step.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self._live = list(parameters.values())
        self.decay = decay
        self.tensors = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the parameters in as they are after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.tensors.values()), self._live, 1.0 - decay)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """While this is entered, the average stands in the parameters' place."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for average, live in zip(self.tensors.values(), self._live, strict=True):
            held = live.clone()
            live.copy_(average)
            average.copy_(held)
