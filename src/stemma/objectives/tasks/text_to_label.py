"""A label, as the likeliest of the texts that stand for labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional

from stemma.data import Kind, Record
from stemma.objectives.example import Asked, Batch, Example
from stemma.objectives.objective import PRODUCTS
from stemma.objectives.tasks.classification import Classification
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.tasks.shares import likeliest
from stemma.objectives.tasks.text_to_text import TextToText


@dataclass(frozen=True, kw_only=True)
class TextToLabel(TextToText):
    """The same loss, of a text that stands for a label; that label is told whose text is likeliest, its end included.

    Args:
        words: the text of each label; the label itself where it has none.
    """

    name: ClassVar[str] = "text-to-label"
    needs: ClassVar[Mapping[str, Kind]] = {"label": "label"}
    labelled: ClassVar[str] = "label"
    measures: ClassVar[str] = "accuracy"
    free: ClassVar[bool] = False

    words: Mapping[str, str] = field(default_factory=dict)

    def examples(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """Each prompt with the text of the right label."""
        for record in records:
            yield [self._with(record, record["label"], scribe)]

    def questions(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """Each prompt with the text of every label."""
        for record in records:
            yield [self._with(record, label, scribe) for label in self.labels]

    def scores(self, model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        """The log-probability of each token, n."""
        logits = functional.linear(*PRODUCTS[self.term](model, output, batch, asked)).float()
        return logits.log_softmax(-1).gather(-1, asked.ids[:, None])[:, 0]

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> dict[str, float]:
        """Each label's probability, the likeliest first."""
        return likeliest(self.labels, np.array([tokens.sum() for tokens in scores]))

    def measure(self, records: Sequence[Record], told: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """As of classes."""
        return Classification(labels=self.labels).measure(records, told)

    def _with(self, record: Record, label: str, scribe: Scribe) -> Example:
        return self.asking(record, self.words.get(label, label), scribe)
