"""Which of several texts goes on, or answers, best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor
from torch.nn import functional

from stemma.data import Kind, Record
from stemma.errors import Fault, InputError
from stemma.metrics import accuracy
from stemma.nn.task_heads import classify
from stemma.objectives.example import Asked, Batch, Example, Targets
from stemma.objectives.joined import beside
from stemma.objectives.lacking import Need, lacking
from stemma.objectives.objective import Setting
from stemma.objectives.tasks.frame import TextFrame
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.tasks.shares import shares
from stemma.objectives.tasks.task import HeadKind, Task, hidden_of
from stemma.objectives.tasks.template import gap_roles, template_faults
from stemma.spec.architecture import Architecture
from stemma.spec.parts import EncoderDecoder
from stemma.spec.tasks import ClassifierHead


@dataclass(frozen=True, kw_only=True)
class Choice(Task):
    """-log p(right choice), a softmax over one score a choice (Radford et al. 2018, section 3.3; Zellers et al. 2018).

    The choices of a record, each behind the text as a document of its own, stand in one row.

    Args:
        template: the text before a choice, as "{text} What was the {question}?".
        first: the number of the first choice where a record names the right one.
    """

    name: ClassVar[str] = "choice"
    needs: ClassVar[Mapping[str, Kind]] = {"choices": "texts", "label": "number"}
    head: ClassVar[HeadKind] = "choice"
    term: ClassVar[str] = "choice"
    measures: ClassVar[str] = "accuracy"

    template: str = "{text}"
    first: int = 0

    def __post_init__(self) -> None:
        if faults := list(template_faults(self.template)):
            raise InputError(self.name, faults)

    @property
    def n_classes(self) -> int:
        """One score, of each choice."""
        return 1

    def faults(self, setting: Setting) -> list[Fault]:
        """The network reads several documents in a row."""
        spec = setting.spec
        able = isinstance(spec, Architecture) and not isinstance(spec.stacks, EncoderDecoder)
        need = Need(able, "a network that reads several texts in a row", "use an encoder or a decoder")
        return lacking(self.name, [need])

    def roles(self, records: bool = True) -> Mapping[str, Kind]:
        """What the template has gaps for, the choices, and the number of the right one."""
        held: dict[str, Kind] = {**gap_roles(self.template), "choices": "texts"}
        return {**held, **self.needs} if records else held

    def examples(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """All choices of a record side by side.

        Raises:
            InputError: naming each record whose right choice is not there.
        """
        right, head = self._right(records), scribe.spec.head(ClassifierHead)
        assert head is not None, "the network was given one"
        most = max((len(record["choices"]) for record in records), default=0)
        for record, number in zip(records, right, strict=True):
            choices = record["choices"]
            text = self.template.format(**{name: record[name] for name in gap_roles(self.template)})
            written = _beside(text, choices, scribe)
            parts = [scribe.example(encoding.ids, encoding.type_ids) for encoding in written]
            lengths = np.array([len(part.tokens) for part in parts])
            places = np.cumsum(lengths) - (1 if head.reads == "last" else lengths)
            targets = Targets(_row(places, most), np.array([number]))
            yield [beside(parts).change(targets={self.term: targets})]

    def scores(self, model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        """The head's score of each choice, n C; -inf where a record has fewer."""
        places = asked.places.clone()
        places[:, 1:] += places[:, :1]
        vectors = hidden_of(model, output)[asked.rows[:, None], places]
        scores = classify(model.heads, model.architecture.head(ClassifierHead).reads, vectors)[..., 0]
        none = torch.cat((torch.zeros_like(places[:, :1]), asked.places[:, 1:]), 1) < 0
        return scores.masked_fill(none, -torch.inf)

    def cost(self, scores: Tensor, asked: Asked) -> Tensor:
        """Cross-entropy over the choices."""
        return functional.cross_entropy(scores, asked.ids, reduction="sum")

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> tuple[float, ...]:
        """Each choice's probability."""
        return tuple(shares(scores[0][0, : len(record["choices"])]).tolist())

    def measure(self, records: Sequence[Record], told: Sequence[Sequence[float]]) -> dict[str, float]:
        """Accuracy."""
        return {"accuracy": accuracy(self._right(records), [int(np.argmax(one)) for one in told])}

    def _right(self, records: Sequence[Record]) -> list[int]:
        """The place of each record's right choice; 0 where none is told."""
        numbers = [record.get("label", self.first) - self.first for record in records]
        faults = [
            Fault(
                f"{record.get('where', f'record {place}')}: label",
                record["label"],
                f"is the number of none of {len(record['choices'])} choices, the first of which is {self.first}",
                "correct it, or say by what number the first is known",
            )
            for place, (record, number) in enumerate(zip(records, numbers, strict=True), 1)
            if number not in range(len(record["choices"]))
        ]
        if faults:
            raise InputError(self.name, faults)
        return [int(number) for number in numbers]


def _beside(text: str, choices: Sequence[str], scribe: Scribe) -> list[Encoding]:
    """Each choice behind the text: as a pair, or as one text where the tokenizer parts no pairs."""
    if len(TextFrame(scribe.tokenizer.backend, 2)):
        return scribe.encode([text] * len(choices), choices)
    return scribe.encode([f"{text} {choice}" for choice in choices])


def _row(places: np.ndarray, most: int) -> np.ndarray:
    """The first choice's place and how far the others are behind it; negative where there are fewer, 1 most."""
    row = np.full((1, most), -1, dtype=np.int64)
    row[0, : len(places)] = places - places[0]
    row[0, 0] = places[0]
    return row
