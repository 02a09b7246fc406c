"""One text is nearer than another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from stemma.data import Kind, Record
from stemma.objectives.example import Asked
from stemma.objectives.lacking import Need
from stemma.objectives.tasks.embedding.contrastive import DISTANCES, Distance, needs_margin
from stemma.objectives.tasks.embedding.sentences import SentenceTask


@dataclass(frozen=True, kw_only=True)
class Triplet(SentenceTask):
    """max(0, d(a, p) - d(a, n) + margin) of a text, one that belongs to it and one that does not.

    Reimers and Gurevych 2019, section 3, triplet objective.

    Args:
        distance: d.
        margin: by how much the other is to be farther away.
    """

    name: ClassVar[str] = "triplet"
    needs: ClassVar[Mapping[str, Kind]] = {}
    texts: ClassVar[tuple[str, ...]] = ("text", "second", "negative")
    term: ClassVar[str] = "nearer"
    measures: ClassVar[str] = "accuracy"

    distance: Distance = "euclidean"
    margin: float = 1.0

    def own_needs(self) -> Iterator[Need]:
        """A distance that is known, and a margin."""
        return needs_margin(self.distance, self.margin)

    def compared(self, vectors: Tensor, asked: Asked, companions: nn.ModuleDict | None) -> Tensor:
        """The sum over triplets."""
        anchor, positive, negative = vectors.unbind(1)
        distance = DISTANCES[self.distance]
        return (distance(anchor, positive) - distance(anchor, negative) + self.margin).relu().sum()

    def measure(self, records: Sequence[Record], told: Sequence[tuple[float, float]]) -> dict[str, float]:
        """How often the cosine with the text that belongs to it is the greater one."""
        return {"accuracy": sum(own > other for own, other in told) / len(told)}
