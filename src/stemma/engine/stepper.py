"""The compiled decoder as a stepper: torch reads the prompts, the native step writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from stemma.engine.native import hand_over, refusals
from stemma.generation import ModelStepper
from stemma.generation.stepper import Prompt

_WHERE = "native step"


class NativeStepper:
    """A model whose prompts torch reads, many tokens at a time, and whose texts the native step writes.

    Args:
        reader: of the prompts; its model holds the same weights.
        decoder: from `stemma.engine.make_decoder`.
    """

    def __init__(self, reader: ModelStepper, decoder: Any) -> None:
        self.reader = reader
        self.decoder = decoder
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

    def choose(self, tokens: Sequence[int]) -> tuple[list[int], list[float]]:
        """Take one more token a row and give the likeliest of what follows, and their log-probabilities."""
        with refusals(_WHERE):
            return self.decoder.choose(self._started(), tokens)  # type: ignore[no-any-return]

    def extend(self, tokens: Sequence[int]) -> Float[Tensor, "S V"]:
        """Take several tokens of the one row there is and give the logits of what follows each."""
        with refusals(_WHERE):
            read = np.array(tokens, dtype=np.int64)
            return torch.from_numpy(self.decoder.extend(self._started(), 0, read))

    def forget(self, n_tokens: int) -> None:
        """Forget the last tokens of the one row there is."""
        cache = self._started()
        with refusals(_WHERE):
            cache.trim(0, cache.lengths[0] - n_tokens)

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Go on with these rows of the cache."""
        with refusals(_WHERE):
            self._started().reorder(_ids(rows))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this is entered, torch computes on one thread: its others spin for work where ours want to run."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _started(self) -> Any:
        assert self._cache is not None, "start comes first"
        return self._cache


def _ids(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.cpu().numpy(), dtype=np.int64)
