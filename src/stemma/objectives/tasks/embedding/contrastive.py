"""Texts that mean the same are drawn together, others pushed apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from stemma.objectives.example import Asked
from stemma.objectives.lacking import Need
from stemma.objectives.tasks.embedding.likeness import LabelledPairs

Distance = Literal["cosine", "euclidean"]

DISTANCES: Mapping[Distance, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": lambda u, v: 1 - functional.cosine_similarity(u, v, dim=-1),
    "euclidean": functional.pairwise_distance,
}
"""How far vectors are from one another: 1 - cos(u, v), or |u - v|."""


@dataclass(frozen=True, kw_only=True)
class Contrastive(LabelledPairs):
    """d^2 / 2 of texts that mean the same, max(0, margin - d)^2 / 2 of others (Hadsell et al. 2006, equation 4).

    Args:
        distance: d.
        margin: how far from one another others are to be.
    """

    name: ClassVar[str] = "contrastive"
    term: ClassVar[str] = "distance"

    distance: Distance = "cosine"
    margin: float = 0.5

    def own_needs(self) -> Iterator[Need]:
        """A distance that is known, and a margin."""
        return needs_margin(self.distance, self.margin)

    def compared(self, vectors: Tensor, asked: Asked, companions: nn.ModuleDict | None) -> Tensor:
        """The sum over pairs."""
        apart = DISTANCES[self.distance](*vectors.unbind(1))
        same = asked.ids == self.labels.index(self.same)
        return apart.where(same, (self.margin - apart).relu()).square().sum() / 2


def needs_margin(distance: str, margin: float) -> Iterator[Need]:
    """A distance that is known, and a margin above 0."""
    yield Need(distance in DISTANCES, f"a distance that is known, not {distance}", f"use {' or '.join(DISTANCES)}")
    yield Need(margin > 0, f"margin={margin} above 0", "use such as 0.5")
