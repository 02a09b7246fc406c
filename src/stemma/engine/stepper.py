"""The compiled decoder as a stepper: torch reads the prompts, the native step writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from stemma.engine.native import hand_over, make_decoder, refusals
from stemma.engine.program import Program
from stemma.generation import ModelStepper
from stemma.generation.stepper import Prompt

_WHERE = "native step"


class NativeStepper:
    """A model whose prompts torch reads, many tokens at a time, and whose texts the native step writes.

    Args:
        reader: of the prompts; its model holds the same weights.
        program: what the native step runs; see `stemma.engine.make_program`.

    Raises:
        InputError: the program is at fault, or the compiled part is not installed.
    """

    def __init__(self, reader: ModelStepper, program: Program) -> None:
        self.reader = reader
        self.decoder = make_decoder(program)
        self._cache: Any = None

    def history(self, prompt: Prompt) -> list[int]:
        """See `Stepper.history`."""
        return self.reader.history(prompt)

    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> Float[Tensor, "B V"]:
        """Read the prompts and give the logits of what follows: see `Stepper.start`."""
        logits = self.reader.start(prompts, max_new_tokens)
        read = self.reader.cache
        with refusals(_WHERE):
            # The last new token is never read.
            self._cache = self.decoder.cache(len(prompts), max(read.length + max_new_tokens - 1, 1))
        hand_over(read, self._cache)
        return logits

    def step(self, tokens: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Take one more token a row and give the logits of what follows."""
        with refusals(_WHERE):
            return torch.from_numpy(self.decoder.step(self._started(), _ids(tokens)))

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Go on with these rows of the cache."""
        with refusals(_WHERE):
            self._started().reorder(_ids(rows))

    def _started(self) -> Any:
        assert self._cache is not None, "start comes first"
        return self._cache


def _ids(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.cpu().numpy(), dtype=np.int64)
