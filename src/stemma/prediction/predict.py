"""Records to answers, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stemma.adaptation.virtual import ids_in_force
from stemma.data import Record
from stemma.errors import InputError
from stemma.generation import Greedy, ModelStepper, Strategy, generate
from stemma.objectives import Example, Setting, Vocabulary
from stemma.objectives.tasks import Scribe, Task, TextToText
from stemma.objectives.tasks.asking import ask
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Shape
from stemma.spec.recurrent_parts import Characters
from stemma.text import Tokenizer

# Records whose examples are made together: few enough to be held, many enough to be sorted by length.
_SOME = 1024
# Prompts that are continued together.
_PROMPTS = 32
_USUAL_LENGTH = 512


def scribe_of(model: Any, tokenizer: Tokenizer, length: int | None = None, *, start: int | None = None) -> Scribe:
    """Who writes records down for a network, behind the virtual tokens of the adaptations that are in force.

    Args:
        model: a `Model` or a `RecurrentModel`.
        tokenizer: its tokenizer.
        length: the most tokens of a text; where not given what the network has room for, and at most 512.
        start: with which its decoder begins, beside an encoder.
    """
    spec: Shape = model.architecture
    before = ids_in_force(model)
    read = getattr(spec, "tokens", None)
    characters = read.max_characters if isinstance(read, Characters) else None
    vocabulary = Vocabulary.of(tokenizer, size=spec.vocab_size, max_characters=characters, start=start)
    longest = spec.max_tokens if isinstance(spec, Architecture) else None
    return Scribe(
        tokenizer,
        vocabulary,
        spec,
        min(length or _USUAL_LENGTH, longest or _USUAL_LENGTH),
        before.get("tokens", ()),
        before.get("decoder_tokens", ()),
    )


def predict(
    model: Any,
    scribe: Scribe,
    task: Task,
    records: Sequence[Record],
    *,
    asked: Sequence[Sequence[Example]] | None = None,
    strategy: Strategy | None = None,
) -> list[Any]:
    """The answer to each record, in their order; examples of like length are read together.

    Args:
        model: a `Model` or a `RecurrentModel` with what the task reads.
        scribe: writes texts down for it.
        task: what is asked.
        records: with the task's roles; those that are answers need not be there.
        asked: the examples of each, where `task.questions` has made them already.
        strategy: how texts are written, where the task is to write them; greedily where not given.

    Raises:
        InputError: naming what the network or the vocabulary lacks.
    """
    if faults := task.faults(Setting(scribe.vocabulary, scribe.length, scribe.spec)):
        raise InputError(task.name, faults)
    if isinstance(task, TextToText) and task.free:
        return _written(model, scribe, task, records, strategy or Greedy())
    told = []
    for start in range(0, len(records), _SOME):
        some = records[start : start + _SOME]
        questions = scribe.finish(task.questions(some, scribe)) if asked is None else asked[start : start + _SOME]
        told += _told(model, scribe, task, some, questions)
    return told


def evaluate(
    model: Any,
    scribe: Scribe,
    task: Task,
    records: Sequence[Record],
    *,
    asked: Sequence[Sequence[Example]] | None = None,
    strategy: Strategy | None = None,
) -> dict[str, float]:
    """How good a network's answers are, figures by their names; arguments as in `predict`."""
    return dict(task.measure(records, predict(model, scribe, task, records, asked=asked, strategy=strategy)))


def _told(
    model: Any, scribe: Scribe, task: Task, records: Sequence[Record], asked: Sequence[Sequence[Example]]
) -> list[Any]:
    flat = [example for examples in asked for example in examples]
    packed = scribe.length if scribe.packs else None
    said = iter(ask(model, task, flat, pad=scribe.vocabulary.roles.pad or 0, packed=packed))
    scores = [[next(said) for _ in examples] for examples in asked]
    return [task.told(*one) for one in zip(records, asked, scores, strict=True)]


def _written(model: Any, scribe: Scribe, task: TextToText, records: Sequence[Record], strategy: Strategy) -> list[str]:
    """What the network writes after each record's prompt; prompts of like length are continued together."""
    stepper = ModelStepper(model, scribe.vocabulary.start)
    prompts = [task.prompt(record, scribe) for record in records]
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    found = [""] * len(records)
    for first in range(0, len(order), _PROMPTS):
        numbers = order[first : first + _PROMPTS]
        rows = [prompts[number].astype(np.int64).tolist() for number in numbers]
        written = generate(stepper, scribe.tokenizer, rows, strategy, task.max_new_tokens)
        for number, (best, *_) in zip(numbers, written, strict=True):
            found[number] = best.text.strip()
    return found
