"""Every family learns: 200 steps on Python's own documentation beat the frequencies of what it is asked for.

Each learns by its own objectives, or by those of them that plain text allows and that 200 steps can teach, in a small
network without dropout and by plain AdamW. The bar is what the best constant guess loses on the very same targets:
their entropy, in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from stemma.data import Ids, Piece, Reading, Row
from stemma.families import catalogue
from stemma.nn import build
from stemma.objectives import (
    Batch,
    BlankInfilling,
    CausalLM,
    Denoising,
    Imitation,
    MaskedLM,
    Objective,
    PermutationLM,
    ReplacedTokens,
    Setting,
    SpanCorruption,
    SpanLM,
    Translation,
    TwoDirections,
    Vocabulary,
    WholeWordLM,
    counts,
    passes,
)
from stemma.spec import Architecture, Dropout, Family, TaskModules
from stemma.spec.lineage import Shape
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, Joined, Scores, TiedScores, Vectors, Words
from stemma.text import Tokenizer, train
from stemma.training import Learner, Lesson

from .tiny import tiny, tiny_recurrent

STEPS, LAST = 200, 20
RATES, BETAS = {Architecture: 3e-3, Recurrent: 2e-2}, (0.9, 0.95)
ROWS, LENGTH, WIDTH = 64, 16, 48
VOCAB, SPELLING = 280, 9
SPECIAL = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "mask": "<mask>"}

TAUGHT: Mapping[str, Objective] = {
    "next token": CausalLM(),
    "previous token": TwoDirections(),
    "translation": Translation(),
    "masked language modelling": MaskedLM(),
    "masked words": WholeWordLM(),
    "tasks on words": WholeWordLM(),
    "masked n-grams": SpanLM(longest=3),
    "masked spans": SpanLM(),
    "replaced tokens": ReplacedTokens(),
    "permutation": PermutationLM(),
    "sentinels": SpanCorruption(),
    "single masks": Denoising(),
    "blanks": BlankInfilling(),
    "answers": Imitation(),
}
"""What stands in the description of a family's pretraining, and the objective that does it."""


class Corpus(NamedTuple):
    """Python's documentation as ids."""

    tokenizer: Tokenizer
    ids: Ids

    def row(self, reads: Reading, length: int, number: int) -> Row:
        """A stretch of it; where pairs are read, what follows answers what precedes."""
        key = (0, number)
        start = np.random.default_rng(key).integers(len(self.ids) - length)
        parts = np.split(self.ids[start : start + length], 2 if reads == "pairs" else 1)
        return Row((Piece(tuple(parts)),), key)


@cache
def corpus() -> Corpus:
    texts = [topics[name] for name in sorted(topics)]
    tokenizer = train(texts, vocab_size=VOCAB, special=SPECIAL, extra=["<extra_id_0>", "<extra_id_1>"])
    return Corpus(tokenizer, np.array([token for text in texts for token in tokenizer.encode(text, add_special=False)]))


def small(family: Family) -> Shape:
    """The family's own parts at small sizes, without dropout; layers that predict words in turn are given scores."""
    if family.shape is Architecture:
        sizes: dict[str, Any] = dict(n_layers=2, d_model=WIDTH, d_head=12, d_ff=2 * WIDTH, dropout=Dropout())
        if family.traits["modules"] is not None:
            sizes["modules"] = TaskModules(n_layers=1, d_model=32, n_heads=4, d_ff=64)
        return tiny(family, vocab=VOCAB, **sizes)
    spec = tiny_recurrent(family)
    return spec.change(
        tokens={Vectors: Vectors(WIDTH), Words: Words(VOCAB, WIDTH)}.get(type(spec.tokens), spec.tokens),
        widths=(WIDTH,) * len(spec.widths),
        heads=() if isinstance(spec.directions, Joined) else (spec.head(TiedScores) or Scores(VOCAB),),
        dropout=type(spec.dropout)(),
    )


def taught(family: Family, setting: Setting) -> list[Objective]:
    """What a network of the family learns by: its parent's objectives where those named are none of ours."""
    named = [objective for words, objective in TAUGHT.items() if words in family.objective]
    able = [objective for objective in named if not objective.faults(setting)]
    return able or taught(family.ancestors[0], setting)


def learner(family: Family) -> Learner:
    """A small network of the family, and what it is taught."""
    spec = small(family)
    spelt = spec.tokens.max_characters if isinstance(spec, Recurrent) and isinstance(spec.tokens, Characters) else None
    setting = Setting(Vocabulary.of(corpus().tokenizer, size=spec.vocab_size, max_characters=spelt), LENGTH, spec)
    lessons = [
        Lesson(asks, partial(corpus().row, asks.reads, asks.takes(LENGTH)), setting)
        for asks in passes(taught(family, setting))
    ]
    return Learner(build(spec), lessons)


def right(term: str, batch: Batch, read: Tensor) -> Tensor:
    """The classes that a term asked for; what a generator has replaced is told by what the network then read."""
    asked = batch.asked[term]
    if term != "replaced":
        return asked.ids
    hidden = batch.asked["masked"]
    original = batch.inputs["tokens"].index_put((hidden.rows, hidden.places), hidden.ids)
    return (read != original)[asked.rows, asked.places].long()


def entropy(targets: Tensor) -> float:
    """What knowing the frequencies alone leaves unknown, in nats."""
    return float(torch.special.entr(targets.bincount() / targets.numel()).sum())


@pytest.mark.slow
@pytest.mark.parametrize("family", catalogue(), ids=lambda family: family.name)
def test_200_steps_beat_the_frequencies(family: Family, figure: Callable[..., None]) -> None:
    pupil = learner(family)
    optimiser = torch.optim.AdamW(pupil.parameters(), lr=RATES[family.shape], betas=BETAS)
    read: list[Any] = []
    pupil.model.register_forward_pre_hook(lambda _, args, inputs: read.append(inputs.get("tokens")), with_kwargs=True)
    last: dict[str, list[tuple[float, Tensor]]] = {}
    for step in range(STEPS):
        optimiser.zero_grad()
        for number, lesson in enumerate(pupil.lessons):
            batch = lesson.batch(range(step * ROWS, (step + 1) * ROWS))
            sums, asked = pupil(number, batch), counts(batch)
            lesson.loss(sums, asked).backward()
            for term in batch.asked if step >= STEPS - LAST else ():
                mean = float(sums[term].detach()) / asked[term]
                last.setdefault(pupil.name(number, term), []).append((mean, right(term, batch, read[-1])))
        optimiser.step()
    for name, measured in last.items():
        mean, bar = sum(value for value, _ in measured) / LAST, entropy(torch.cat([targets for _, targets in measured]))
        figure(name, family=family.name, loss=round(mean, 3), entropy=round(bar, 3))
        assert mean < bar, name
