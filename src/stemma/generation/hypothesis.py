"""What a search gives, and what it asks of whoever watches it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from stemma.errors import Fault, InputError

Watch = Callable[[int, Sequence[int]], bool]
"""Called with a prompt's index and the new tokens of one of its hypotheses, once a token; True ends that hypothesis."""

Processor = Callable[[list[list[int]], Float[Tensor, "B V"]], Float[Tensor, "B V"]]
"""Turns the ids of each row so far and their logits into the logits to choose by; -inf forbids a token."""

Ends = Callable[[int, Sequence[int]], bool]


@dataclass(frozen=True)
class Hypothesis:
    """One way in which a prompt goes on.

    Args:
        tokens: the new ids, with the one that ended it where there is one.
        logprobs: of each token under the model, in nats, whatever the strategy or a processor made of it.
        logprob: their sum: the log-probability of these tokens given the prompt.
        score: what the strategy ranks by.
        finished: whether it came to an end, rather than to the limit.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    logprob: float
    score: float
    finished: bool


@runtime_checkable
class Frontier(Protocol):
    """The rows that a strategy works on; each advance turns them into the next ones."""

    def advance(self, logits: Float[Tensor, "B V"], offered: Float[Tensor, "B V"]) -> tuple[list[int], list[int]]:
        """Choose tokens.

        Args:
            logits: the model's, one row for each live hypothesis.
            offered: what a processor made of them; the same tensor where there is none.

        Returns:
            The rows that go on, and the token that each takes; both empty when all is done.
        """
        ...

    def ids(self) -> list[list[int]]:
        """For each row the ids so far, history included."""
        ...

    def results(self) -> list[list[Hypothesis]]:
        """For each prompt its hypotheses, the best first."""
        ...


def stream_seed(seed: int, prompt: Sequence[int]) -> int:
    """A seed of 63 bits for one prompt's draws, the same in every batch and at every place in it.

    >>> stream_seed(0, [1, 2]) == stream_seed(0, [1, 2]) != stream_seed(1, [1, 2])
    True
    """
    digest = hashlib.blake2b(repr((seed, *prompt)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def nothing_to_choose(what: str) -> InputError:
    """The error for logits that offer no token."""
    return InputError("generation", Fault("logits", what, "offer no token", "check the weights and the processor"))
