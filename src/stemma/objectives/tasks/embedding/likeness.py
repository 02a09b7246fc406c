"""Pairs of texts with a label that says whether they mean the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from stemma.data import Kind, Record
from stemma.objectives.tasks.embedding.sentences import SentenceTask
from stemma.objectives.tasks.scribe import Scribe


@dataclass(frozen=True, kw_only=True)
class LabelledPairs(SentenceTask):
    """Something to be told of a pair of texts with a label.

    Args:
        positive: the label of texts that mean the same; the last one where not given.
    """

    needs: ClassVar[Mapping[str, Kind]] = {"label": "label"}
    labelled: ClassVar[str] = "label"
    measures: ClassVar[str] = "accuracy"

    positive: str = ""

    @property
    def same(self) -> str:
        """The label of texts that mean the same."""
        return self.positive or self.labels[-1]

    def right(self, records: Sequence[Record], scribe: Scribe) -> Iterator[np.ndarray]:
        """The number of the label."""
        for record in records:
            yield np.array([self.labels.index(record["label"])])

    def measure(self, records: Sequence[Record], told: Sequence[float]) -> dict[str, float]:
        """How well the best threshold tells by cosines alone which texts mean the same."""
        best = best_threshold([record["label"] == self.same for record in records], told)
        return {"accuracy": best.accuracy, "threshold": best.threshold}


class Threshold(NamedTuple):
    """The share of pairs that are told rightly by calling those above a threshold the same."""

    accuracy: float
    threshold: float


def best_threshold(same: Sequence[bool], cosines: Sequence[float]) -> Threshold:
    """The threshold that tells most pairs rightly, in the middle between two cosines.

    Args:
        same: whether the texts of each pair mean the same; at least one pair.
        cosines: of their vectors.

    >>> best_threshold([True, False, True, False], [0.9, 0.5, 0.8, 0.7])
    Threshold(accuracy=1.0, threshold=0.75)
    """
    order = np.argsort(-np.asarray(cosines, dtype=np.float64), kind="stable")
    falling, right = np.asarray(cosines, dtype=np.float64)[order], np.asarray(same, dtype=bool)[order]
    # Of so many first ones called the same: those that are, and the later ones that are not.
    hits = np.concatenate(([0], right.cumsum())) + (~right).sum() - np.concatenate(([0], (~right).cumsum()))
    edges = np.concatenate(([falling[0] + 1], falling, [falling[-1] - 1]))
    # Equal cosines cannot be told apart.
    hits = np.where(edges[:-1] > edges[1:], hits, -1)
    best = int(hits.argmax())
    return Threshold(float(hits[best] / len(right)), float((edges[best] + edges[best + 1]) / 2))
