"""Tokenizers of every kind, records of every task, and small networks that can learn them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch

from stemma.data import Answer, Record
from stemma.families.task_heads import task_heads
from stemma.objectives.tasks import TASKS, Scribe, Task, TextToText
from stemma.prediction import scribe_of
from stemma.spec import Architecture, Family
from stemma.spec.parts import BlockPositions, Learned, Rotary
from stemma.text import Tokenizer, train

from ..tiny import random_model, tiny, untold

TEXTS = (
    "the film was good and the night was long",
    "a bad film about a dog in New York",
    "words of several kinds, dull or bright",
)
SIZES = {"wordpiece": 110, "bytebpe": 330, "unigram": 60, "bpe": 330}
LABELS = ("good", "bad", "dull")
LENGTH = 40

_CONTEXT = " ".join(TEXTS)
RECORDS: dict[str, list[Record]] = {
    "classification": [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)],
    "regression": [{"text": text, "number": float(number)} for number, text in enumerate(TEXTS)],
    "tagging": [
        {"words": ("the", "film", "in", "New", "York"), "tags": ("O", "O", "O", "B-loc", "I-loc")},
        {"words": ("good", "night"), "tags": ("O", "O")},
        {"words": tuple(_CONTEXT.split()), "tags": ("O",) * len(_CONTEXT.split())},
    ],
    "extraction": [
        {"question": "what film?", "context": _CONTEXT, "answers": (Answer("New York", _CONTEXT.index("New York")),)},
        {"question": "where?", "context": TEXTS[1], "answers": ()},
    ],
    "choice": [
        {"text": "the film was", "choices": ("good", "a dog in New York"), "label": 1.0},
        {"text": "a bad", "choices": ("night", "film", "word"), "label": 0.0},
    ],
    "text-to-text": [{"text": text, "target": text.split()[1]} for text in TEXTS],
    "text-to-label": [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)],
    "cloze": [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)],
}


@cache
def tokenizer(kind: str = "wordpiece") -> Tokenizer:
    return train(TEXTS * 9, kind=kind, vocab_size=SIZES[kind])  # type: ignore[arg-type]


def task(name: str, **changes: Any) -> Task:
    """A task with the labels of its records."""
    found = TASKS[name](**changes)
    found = replace(found, max_new_tokens=8) if isinstance(found, TextToText) else found
    return found.named(RECORDS[name])


def network(family: Family, asked: Task, known: Tokenizer) -> Any:
    """A small network of random weights with the head that a task needs, of sizes that its format can tell."""
    changes: dict[str, Any] = {}
    match family.traits["position"]:
        case Learned(offset=offset):
            changes["position"] = Learned(64 + offset, offset)
        case BlockPositions(max_block=rows):
            changes["position"] = BlockPositions(64, rows)
    if family.checkpoint is not None and not isinstance(family.traits["position"], Rotary):
        changes |= {"d_model": 24, "n_kv_heads": 4, **untold(family.checkpoint)}
    spec: Architecture = tiny(family, vocab=len(known), **changes)
    if asked.head is not None:
        spec = spec.change(heads=())
        spec = spec.change(heads=task_heads(family, spec, asked.head, asked.n_classes))
    return random_model(spec)


def setting(name: str, family: Family, kind: str = "wordpiece", **changes: Any) -> tuple[Any, Scribe, Task]:
    """A network, who writes for it, and a task."""
    asked, known = task(name, **changes), tokenizer(kind)
    model = network(family, asked, known)
    return model, scribe_of(model, known, LENGTH), asked


def mean_losses(asked: Task, model: Any, batch: Any) -> torch.Tensor:
    """The weighted sum of each term's mean."""
    sums = asked.losses(model, torch.nn.ModuleDict(), batch)
    weights = {"balance": 0.0, "router": 0.0, **asked.weights()}
    found = [weights.get(term, 1.0) * value / max(1, len(batch.asked.get(term, ()))) for term, value in sums.items()]
    return torch.stack(found).sum()
