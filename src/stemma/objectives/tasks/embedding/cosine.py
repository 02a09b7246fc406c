"""Cosines that are to be numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from stemma.data import Kind, Record
from stemma.metrics import pearson, spearman
from stemma.objectives.example import Asked
from stemma.objectives.lacking import Need
from stemma.objectives.tasks.embedding.sentences import SentenceTask
from stemma.objectives.tasks.scribe import Scribe


@dataclass(frozen=True, kw_only=True)
class CosineRegression(SentenceTask):
    """(cos(u, v) - y)^2 of how alike two texts are said to be (Reimers and Gurevych 2019, section 3).

    Args:
        low: the number for which the cosine is to be 0.
        high: that for which it is to be 1, such as 5 in STS-B.
    """

    name: ClassVar[str] = "cosine-regression"
    needs: ClassVar[Mapping[str, Kind]] = {"number": "number"}
    term: ClassVar[str] = "number"
    measures: ClassVar[str] = "spearman"

    low: float = 0.0
    high: float = 1.0

    def own_needs(self) -> Iterator[Need]:
        """Two numbers apart."""
        yield Need(self.low < self.high, f"low={self.low} below high={self.high}", "give both ends of the scale")

    def right(self, records: Sequence[Record], scribe: Scribe) -> Iterator[np.ndarray]:
        """The number on a scale from 0 to 1."""
        for record in records:
            yield np.array([(record["number"] - self.low) / (self.high - self.low)], dtype=np.float32)

    def compared(self, vectors: Tensor, asked: Asked, companions: nn.ModuleDict | None) -> Tensor:
        """The sum of squares."""
        first, second = vectors.unbind(1)
        cosines = functional.cosine_similarity(first, second, dim=-1)
        return functional.mse_loss(cosines, asked.ids.to(cosines.dtype), reduction="sum")

    def measure(self, records: Sequence[Record], told: Sequence[float]) -> dict[str, float]:
        """Correlations of cosines with the numbers."""
        right = [record["number"] for record in records]
        return {"spearman": spearman(right, told), "pearson": pearson(right, told)}
