"""What a network still knows of what it was pretrained for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from stemma.data import Corpus, Rows
from stemma.objectives import (
    CausalLM,
    Denoising,
    MaskedLM,
    Objective,
    Pass,
    PermutationLM,
    Setting,
    SpanCorruption,
    TwoDirections,
    counts,
)
from stemma.objectives.neighbours import Neighbours
from stemma.spec.pooling import Pooling
from stemma.training import Learner, Lesson

_ROWS, _BATCHES = 16, 6
_KNOWN: tuple[Objective, ...] = (
    CausalLM(),
    TwoDirections(),
    MaskedLM(),
    PermutationLM(),
    SpanCorruption(),
    Denoising(),
    Neighbours(),
)


def pretraining(setting: Setting, pooling: Pooling | None) -> Objective | None:
    """The objective by which such a network is pretrained; None where its heads serve none.

    A sentence encoder without a head for words is asked which pieces of text belong together.

    Args:
        setting: the network, its vocabulary and the length of rows.
        pooling: how it makes one vector of a text, where it was made to.
    """
    found = next((one for one in _KNOWN if not one.faults(setting)), None)
    return replace(found, pooling=pooling) if pooling and isinstance(found, Neighbours) else found


def old_lesson(
    objective: Objective, corpora: list[Corpus], setting: Setting, seed: int, *, rows: int = _ROWS, share: float = 1.0
) -> Lesson:
    """What the network once learnt, asked about old text.

    Args:
        objective: from `pretraining`.
        corpora: the text.
        setting: the network, its vocabulary and the length of rows.
        seed: of the rows.
        rows: that are read together.
        share: of a step's rows; its loss has that weight, too.
    """
    asks = Pass((replace(objective, weight=share),))
    batch = max(1, round(rows * share))
    read = Rows(corpora, asks.reads, asks.takes(setting.length), setting.vocabulary.frame, seed, batch=batch)
    return Lesson(asks, read.row, setting, multiple=8, share=share)


def old_loss(model: Any, lesson: Lesson) -> float:
    """The mean loss of the pretraining objective on held-out text, in nats; the same rows each time.

    Args:
        model: the network, adapted or not.
        lesson: from `old_lesson`.
    """
    learner = Learner(model, [lesson]).eval()
    sums = targets = 0.0
    with torch.no_grad():
        for number, batch in enumerate(_batches(lesson)):
            torch.manual_seed(number)
            found = learner(0, batch.to(next(model.parameters()).device))
            asked = counts(batch)
            terms = [term for term in found if term in batch.asked]
            sums += sum(float(found[term]) for term in terms)
            targets += sum(asked[term] for term in terms)
    return sums / max(1.0, targets)


def _batches(lesson: Lesson) -> Iterator[Any]:
    for number in range(_BATCHES):
        yield lesson.batch(range(number * _ROWS, (number + 1) * _ROWS))
