"""What a network says to the questions of many examples, in few passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from stemma.nn import PackedProducts
from stemma.objectives.example import Example, collate
from stemma.objectives.joined import Joined, joined
from stemma.objectives.tasks.task import Task

# Tokens of a pass: enough for products that keep a processor busy, few enough for its memory.
_TOKENS = 4096


def ask(model: Any, task: Task, examples: Sequence[Example], *, pad: int = 0, packed: int | None = None) -> list[Any]:
    """The scores of each example's questions, in the order of the examples; dropout is off, and nothing is learnt.

    Args:
        model: the network.
        task: whose questions they are.
        examples: of one record or of many.
        pad: the id that fills rows.
        packed: the most tokens of a row in which examples are joined; None reads each in a row of its own.
    """
    said: list[Any] = [None] * len(examples)
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    with torch.inference_mode(), PackedProducts():
        for rows in _passes(examples, packed):
            batch = collate([row.example for row in rows], pad=pad).to(device)
            output = model(**batch.inputs, scores=False)
            scores = task.scores(model, output, batch, batch.asked[task.term]).float().cpu().numpy()
            members = [number for row in rows for number in row.members]
            n_asked = [len(examples[number].targets[task.term].ids) for number in members]
            parts = np.split(scores, np.cumsum(n_asked)[:-1])
            for number, part in zip(members, parts, strict=True):
                said[number] = part
    model.train(training)
    return said


def _passes(examples: Sequence[Example], packed: int | None) -> Iterator[list[Joined]]:
    """Rows of about one length, as many as make a pass."""
    if packed is not None:
        rows = joined(examples, packed)
    else:
        rows = [Joined(example, (number,)) for number, example in enumerate(examples)]
    rows = sorted(rows, key=lambda row: len(row.example.tokens))
    held: list[Joined] = []
    for row in rows:
        if held and (len(held) + 1) * len(row.example.tokens) > _TOKENS:
            yield held
            held = []
        held.append(row)
    if held:
        yield held
