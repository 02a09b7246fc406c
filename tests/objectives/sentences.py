"""A toy sentence encoder with a tokenizer, and records for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from stemma.checkpoints import Stored, write_folder
from stemma.data import Record
from stemma.families import BERT
from stemma.objectives import Batch, Setting, Vocabulary, collate
from stemma.objectives.joined import joined
from stemma.objectives.tasks import Scribe, Task
from stemma.objectives.tasks.embedding import (
    Contrastive,
    CosineRegression,
    CrossLingual,
    Entailment,
    MultipleNegatives,
    SentenceTask,
    Triplet,
)
from stemma.spec import Architecture, BlockPositions, Family, Learned
from stemma.spec.pooling import Pooling
from stemma.text import Tokenizer, train

from ..tiny import random_model, tiny, untold

LENGTH = 12
_ANIMALS, _DEEDS, _PLACES = ("a cat", "the old dog", "one horse"), ("sleeps", "is eating"), ("", "in the garden")
TEXTS = [f"{animal} {deed} {place}".strip() for animal in _ANIMALS for deed in _DEEDS for place in _PLACES]
RECORDS: list[Record] = [
    {
        "text": text,
        "second": " ".join(reversed(text.split())),
        "negative": TEXTS[number - 5],
        "negatives": (TEXTS[number - 5], TEXTS[number - 7]),
        "number": float(number % 6),
        "label": ("0", "1", "2")[number % 3],
    }
    for number, text in enumerate(TEXTS)
]
# Each task as it is tried.
TASKS: dict[str, SentenceTask] = {
    "entailment": Entailment(labels=("0", "1", "2")),
    "cosine-regression": CosineRegression(high=5.0),
    "contrastive": Contrastive(labels=("0", "1", "2")),
    "multiple-negatives": MultipleNegatives(hard=True),
    "triplet": Triplet(),
    "cross-lingual": CrossLingual(),
}


class Encoder(NamedTuple):
    """A network that is ready to be asked."""

    model: Any
    scribe: Scribe
    setting: Setting


@cache
def tokenizer() -> Tokenizer:
    special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return train(TEXTS, kind="wordpiece", vocab_size=70, special=special)


def encoder(family: Family = BERT, seed: int = 0) -> Encoder:
    """A toy of a family with random parameters."""
    known = tokenizer()
    changes: dict[str, Any] = dict(untold(family.checkpoint) if family.checkpoint else {})
    if family is BERT:
        changes["heads"] = ()
    match family.traits["position"]:
        # Padding is as long as a row, which has room for many texts.
        case Learned(offset=offset):
            changes["position"] = Learned(80 + offset, offset)
        case BlockPositions():
            changes["position"] = BlockPositions(80, 17)
    spec = tiny(family, len(known), **changes)
    vocabulary = Vocabulary.of(known, size=spec.vocab_size)
    return Encoder(random_model(spec, seed), Scribe(known, vocabulary, spec, LENGTH), Setting(vocabulary, LENGTH, spec))


def write(folder: Path, family: Family = BERT, pooling: Pooling | None = None, seed: int = 0) -> Encoder:
    """The same in a folder that sentence-transformers opens."""
    made = encoder(family, seed)
    stored = Stored(family, made.model, pooling=pooling or Pooling())
    write_folder(stored, folder, beside=tokenizer().save)
    return made


def batch_of(made: Encoder, task: Task, records: Sequence[Record], packed: int | None = None) -> Batch:
    """Records as rows; joined where they may be so long."""
    examples = [one for several in task.examples(records, made.scribe) for one in several]
    rows = examples if packed is None else [row.example for row in joined(examples, packed)]
    return collate(rows)


def judges(task: SentenceTask, spec: Architecture) -> nn.ModuleDict:
    """What learns beside a network."""
    return task.companions(Setting(Vocabulary.of(tokenizer()), LENGTH, spec), seed=3)


def gradients(model: nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of every parameter that has one."""
    model.zero_grad()
    loss.backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
