"""A small run: networks of toy size, rows of unequal length, and everything a step needs."""

from __future__ import annotations

import os
import signal
from functools import cache, partial
from typing import Any

import numpy as np

from stemma.data import Piece, Reading, Row
from stemma.families import GPT2, family
from stemma.nn import build
from stemma.objectives import CausalLM, Objective, Setting, Vocabulary, passes
from stemma.objectives.catalogue import objective
from stemma.objectives.demonstration import USUAL
from stemma.spec import Architecture, Dropout, Learned
from stemma.spec.lineage import Shape
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, Scores
from stemma.text import Tokenizer, train
from stemma.training import AdamW, Constant, Learner, Lesson, TrainPlan

from ..tiny import tiny, tiny_recurrent

LENGTH = 18


@cache
def tokenizer() -> Tokenizer:
    """A vocabulary of Python's documentation, with all the roles that objectives need."""
    from pydoc_data.topics import topics

    texts = [topics[name] for name in sorted(topics)[:20]]
    roles = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "mask": "<mask>", "cls": "<cls>", "sep": "<sep>"}
    return train(texts, vocab_size=320, special=roles, extra=[f"<extra_id_{number}>" for number in range(20)])


@cache
def ids() -> np.ndarray[Any, np.dtype[np.int64]]:
    """The documentation as ids."""
    from pydoc_data.topics import topics

    return np.array([token for name in sorted(topics)[:20] for token in tokenizer().encode(topics[name])])


def row(number: int, reads: Reading = "stream", *, epoch: int = 50, salt: int = 0) -> Row:
    """One of a corpus of so many rows, which begins again in another order; documents of unequal lengths."""
    turn, place = divmod(number, epoch)
    place = int(np.random.default_rng((salt, turn)).permutation(epoch)[place])
    draws = np.random.default_rng((salt, place))
    n_parts = {"stream": int(draws.integers(1, 3)), "whole": 2, "pieces": 1}.get(reads, 2)
    starts, lengths = draws.integers(0, len(ids()) - LENGTH, size=n_parts), draws.integers(4, LENGTH // 2, size=n_parts)
    parts = tuple(ids()[start : start + n] for start, n in zip(starts, lengths, strict=True))
    if reads == "pairs":
        pieces: tuple[Piece, ...] = (Piece(parts, languages=(0, 1)),)
    else:
        pieces = tuple(Piece((part,), document=at) for at, part in enumerate(parts))
    return Row(pieces, (salt, turn, place))


def spec(dropout: float = 0.0, **changes: Any) -> Architecture:
    """GPT-2 at the size of a toy."""
    rates = Dropout(residual=dropout, attention=dropout, feedforward=dropout)
    sizes: dict[str, Any] = dict(n_layers=2, d_model=16, n_heads=4, vocab_size=len(tokenizer()), dropout=rates)
    return GPT2.build(**sizes | {"position": Learned(LENGTH)} | changes)


def lessons(of: Shape, *objectives: Objective, salt: int = 0, epoch: int = 50) -> list[Lesson]:
    """What a network learns by, the next token if nothing is said."""
    spelt = isinstance(of, Recurrent) and isinstance(of.tokens, Characters) and of.tokens.max_characters
    setting = Setting(Vocabulary.of(tokenizer(), max_characters=spelt or None), LENGTH, of)
    return [
        Lesson(one, partial(row, reads=one.reads, salt=salt, epoch=epoch), setting)
        for one in passes(objectives or (CausalLM(),))
    ]


def learner(dropout: float = 0.0, *objectives: Objective, seed: int = 0, epoch: int = 50, **changes: Any) -> Learner:
    """A learner that has learnt nothing."""
    of = spec(dropout, **changes)
    return Learner(build(of, seed=seed), lessons(of, *objectives, epoch=epoch))


def usual(name: str, of_family: str = "") -> Learner:
    """A learner of an objective, with a toy of the network that it pretrained or of another family."""
    shown = USUAL[name]
    if of_family or shown.family.shape is Architecture:
        of: Shape = tiny(
            family(of_family or shown.family.name), vocab=len(tokenizer()), dropout=Dropout(), **shown.changes
        )
    else:
        of = tiny_recurrent(shown.family)
        of = of.change(heads=(Scores(len(tokenizer())),), dropout=type(of.dropout)())
    return Learner(build(of, seed=0), lessons(of, objective(name)(**shown.options)))


def plan(**changes: Any) -> TrainPlan:
    """A few steps of a few rows."""
    few: dict[str, Any] = dict(steps=8, rows=8, optimiser=AdamW(lr=1e-2), schedule=Constant(), log_every=1)
    return TrainPlan(**few | changes)


class Kept:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.lines: dict[int, dict[str, float]] = {}
        self.events: list[tuple[int, str]] = []
        self.closed = False

    def begin(self, step: int, steps: int) -> None:
        self.began = step

    def log(self, step: int, values: Any) -> None:
        self.lines.setdefault(step, {}).update(values)

    def note(self, step: int, event: str) -> None:
        self.events.append((step, event))

    def close(self) -> None:
        self.closed = True

    def figure(self, name: str = "loss") -> dict[int, float]:
        return {step: values[name] for step, values in self.lines.items() if name in values}


class Ends(Kept):
    """A tracker that asks the run to end after a step.

    Args:
        after: the step.
        by: the signal that asks.
    """

    def __init__(self, after: int, by: signal.Signals = signal.SIGTERM) -> None:
        super().__init__()
        self.after, self.by = after, by

    def log(self, step: int, values: Any) -> None:
        super().log(step, values)
        if step == self.after and "norm" in values:
            os.kill(os.getpid(), self.by)
