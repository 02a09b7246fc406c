"""The class of a text, or of two; or a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional

from stemma.data import Kind, Record
from stemma.metrics import accuracy, matthews, mean_squared_error, pearson, precision_recall_f1, spearman
from stemma.nn.task_heads import classify, text_vectors
from stemma.objectives.example import Asked, Batch, Example, Targets
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.tasks.shares import likeliest
from stemma.objectives.tasks.task import HeadKind, Task, hidden_of
from stemma.spec.tasks import ClassifierHead


@dataclass(frozen=True, kw_only=True)
class _OfTexts(Task):
    """A question about a text as a whole, or about a pair of texts.

    Args:
        pair: whether records have a second text.
    """

    head: ClassVar[HeadKind] = "classifier"

    pair: bool = False

    def roles(self, records: bool = True) -> Mapping[str, Kind]:
        """One text or two, and what is right."""
        texts: dict[str, Kind] = {"text": "text", **({"second": "text"} if self.pair else {})}
        return {**texts, **self.needs} if records else texts

    def examples(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """Each text once, asked about at the place that the head reads."""
        seconds = [record["second"] for record in records] if self.pair else None
        written = scribe.encode([record["text"] for record in records], seconds)
        head = scribe.spec.head(ClassifierHead)
        assert head is not None, "the network was given one"
        for record, encoding in zip(records, written, strict=True):
            example = scribe.example(encoding.ids, encoding.type_ids)
            place = len(example.tokens) - 1 if head.reads == "last" else 0
            yield [example.change(targets={self.term: Targets(np.array([place]), self._right(record))})]

    def scores(self, model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        """The head's scores, n N."""
        hidden, reads = hidden_of(model, output), model.architecture.head(ClassifierHead).reads
        if reads == "concat":
            vectors = text_vectors(hidden, batch.inputs.get("mask"), reads)[asked.rows]
        else:
            vectors = hidden[asked.rows, asked.places]
        return classify(model.heads, reads, vectors)

    def _right(self, record: Record) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Classification(_OfTexts):
    """-log p(class | text), or of a pair of texts (Devlin et al. 2019, section 4.1).

    Args:
        positive: the class whose F1 is told, where there are two; the last one where not given.
    """

    name: ClassVar[str] = "classification"
    needs: ClassVar[Mapping[str, Kind]] = {"label": "label"}
    labelled: ClassVar[str] = "label"
    term: ClassVar[str] = "class"
    measures: ClassVar[str] = "accuracy"

    positive: str = ""

    def cost(self, scores: Tensor, asked: Asked) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(scores, asked.ids, reduction="sum")

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> dict[str, float]:
        """Each class's probability, the likeliest first."""
        return likeliest(self.labels, scores[0][0])

    def measure(self, records: Sequence[Record], told: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Accuracy, F1 (of the positive class where there are two, else their mean) and Matthews' correlation."""
        right = [record["label"] for record in records]
        said = [next(iter(one)) for one in told]
        binary = len(self.labels) == 2
        positive = (self.positive or self.labels[-1]) if binary else None
        f1 = precision_recall_f1(right, said, positive=positive).f1
        return {"accuracy": accuracy(right, said), "f1": f1, "matthews": matthews(right, said)}

    def _right(self, record: Record) -> np.ndarray:
        return np.array([self.labels.index(record["label"]) if "label" in record else 0])


@dataclass(frozen=True, kw_only=True)
class Regression(_OfTexts):
    """(s - y)^2 of a text's score, or a pair's (Devlin et al. 2019, section 4.1, on STS-B).

    Args:
        low: the number that a score of 0 stands for.
        high: that of a score of 1.
    """

    name: ClassVar[str] = "regression"
    needs: ClassVar[Mapping[str, Kind]] = {"number": "number"}
    term: ClassVar[str] = "number"
    measures: ClassVar[str] = "spearman"

    low: float = 0.0
    high: float = 1.0

    @property
    def n_classes(self) -> int:
        """One score."""
        return 1

    def cost(self, scores: Tensor, asked: Asked) -> Tensor:
        """The sum of squares."""
        return functional.mse_loss(scores[:, 0], asked.ids.to(scores.dtype), reduction="sum")

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> float:
        """The number."""
        return float(self.low + (self.high - self.low) * scores[0][0, 0])

    def measure(self, records: Sequence[Record], told: Sequence[float]) -> dict[str, float]:
        """Correlations, and the mean square of what is wrong."""
        right = [record["number"] for record in records]
        return {
            "spearman": spearman(right, told),
            "pearson": pearson(right, told),
            "mean_squared_error": mean_squared_error(right, told),
        }

    def _right(self, record: Record) -> np.ndarray:
        return np.array([(record.get("number", self.low) - self.low) / (self.high - self.low)])
