"""Tokens that are guessed and read together: several for the price of a step, and the same text.

After Leviathan, Kalman and Matias 2023 ("Fast inference from Transformers via speculative decoding") and Saxena 2023
("Prompt lookup decoding"). A guess holds where the strategy itself chooses the same token from the model's own logits,
with the draws that it would have made anyway: what is written is not only of the same distribution, it is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stemma.engine.stepper import NativeStepper
from stemma.errors import Fault, InputError
from stemma.generation.stepper import Prompt
from stemma.spec.architecture import Architecture

Draft = Callable[[Sequence[int], int], list[int]]
"""Guesses what follows some ids: as many tokens as it dares, and no more than it is asked for."""

# Guesses at first, and the most of them: a pass over sixteen tokens still costs little more than its weights.
_FIRST, _MOST = 4, 15


class LookAhead:
    """A stepper that reads guesses along with each token; several rows it leaves to the other one.

    Args:
        stepper: what reads.
        draft: what guesses.
    """

    def __init__(self, stepper: NativeStepper, draft: Draft) -> None:
        self.stepper = stepper
        self.draft = draft
        self._ids: list[int] = []
        self._left = 0
        self._daring = _FIRST
        self._guessed: list[int] = []
        self._logits: list[Tensor] = []

    def history(self, prompt: Prompt) -> list[int]:
        """See `Stepper.history`."""
        return self.stepper.history(prompt)

    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> Float[Tensor, "B V"]:
        """Read the prompts and give the logits of what follows: see `Stepper.start`."""
        # Of a pair, what the encoder reads is guessed from too.
        self._ids, self._left = list(prompts[0]), max_new_tokens - 1
        self._daring, self._guessed, self._logits = _FIRST, [], []
        return self.stepper.start(prompts, max_new_tokens)

    def step(self, tokens: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Take one more token a row and give the logits of what follows."""
        self._left -= 1
        if len(tokens) != 1:
            return self.stepper.step(tokens)
        token = int(tokens[0])
        self._ids.append(token)
        if self._guessed and self._guessed.pop(0) == token:
            return self._logits.pop(0)
        self._daring = max(self._daring // 2, 1) if self._logits else min(2 * self._daring, _MOST)
        self.stepper.forget(len(self._logits))
        self._guessed = self.draft(self._ids, min(self._daring, self._left))
        logits = self.stepper.extend([token, *self._guessed])
        self._logits = list(torch.split(logits[1:], 1)) if self._guessed else []
        return logits[:1]

    def alone(self) -> AbstractContextManager[None]:
        """See `stemma.generation.stepper.Alone`."""
        return self.stepper.alone()

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Go on with these rows of the cache."""
        if len(rows) == 1 and not self._logits:
            self.stepper.reorder(rows)
        elif rows.tolist() != [0]:
            self.stepper.forget(len(self._logits))
            self._guessed, self._logits = [], []
            self.stepper.reorder(rows)


class PromptLookup:
    """Guesses that what followed the last few tokens before follows them again.

    Args:
        longest: of the stretches that are looked for; the longest that is found counts.
    """

    def __init__(self, longest: int = 4) -> None:
        self._longest = longest
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}

    def __call__(self, ids: Sequence[int], most: int) -> list[int]:
        """As of `Draft`."""
        if list(ids[: len(self._ids)]) != self._ids:
            self._ids, self._after = [], {}
        found: list[int] = []
        for length in range(self._longest, 1, -1):
            self._learn(ids, length)
        for length in range(self._longest, 1, -1):
            if (place := self._after.get(tuple(ids[-length:]))) is not None:
                found = list(ids[place : place + most])
                break
        self._ids = list(ids)
        return found

    def _learn(self, ids: Sequence[int], length: int) -> None:
        """Where stretches of a length end, but for the last one."""
        for end in range(max(len(self._ids), length), len(ids)):
            self._after[tuple(ids[end - length : end])] = end


class DraftModel:
    """Guesses what a smaller model of the same vocabulary finds likeliest.

    Args:
        decoder: of the smaller model, from `stemma.engine.make_decoder`.
        limit: the most tokens that it reads.
    """

    def __init__(self, decoder: Any, limit: int | None) -> None:
        self._decoder = decoder
        self._limit = limit
        self._cache: Any = None
        self._read: list[int] = []

    def __call__(self, ids: Sequence[int], most: int) -> list[int]:
        """As of `Draft`."""
        needed = len(ids) + most
        if most < 1 or (self._limit is not None and needed > self._limit):
            return []
        if self._cache is None or self._cache.capacity < needed:
            room = 2 * needed if self._limit is None else min(2 * needed, self._limit)
            self._cache, self._read = self._decoder.cache(1, room), []
        common = _common(self._read, ids[:-1])
        self._cache.trim(0, common)
        logits = self._decoder.extend(self._cache, 0, _array(ids[common:]), last_only=True)
        guessed = [int(logits.argmax())]
        if most > 1:
            (more,) = self._decoder.write(self._cache, _array(guessed), most - 1, _array([]), {})
            guessed += more
        self._read = [*ids, *guessed[:-1]]
        return guessed


def check_draft(smaller: Architecture, larger: Architecture) -> None:
    """See to it that one model can guess for another.

    Raises:
        InputError: the two have different vocabularies, or the smaller one does not continue texts.
    """
    faults = []
    if smaller.vocab_size != larger.vocab_size:
        rule = f"must be the other model's, {larger.vocab_size}"
        faults.append(Fault("draft vocab_size", smaller.vocab_size, rule, "use a model with the same tokenizer"))
    if smaller.kind != "decoder-only":
        faults.append(Fault("draft", smaller.kind, "must be a decoder", "use a model that continues texts"))
    if faults:
        raise InputError("generate", faults)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many of the first ids are the same."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


def _array(ids: Sequence[int]) -> Any:
    return torch.tensor(ids, dtype=torch.int64).numpy()
