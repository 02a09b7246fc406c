"""Which pieces are of one text? (Contriever)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from stemma.data import Frame, Piece, Reading, Row
from stemma.errors import Fault
from stemma.objectives.example import Asked, Batch, Example
from stemma.objectives.lacking import Need, lacking
from stemma.objectives.noises import share_of, unframed
from stemma.objectives.objective import Objective, Setting, laid_out
from stemma.objectives.pairs import framed
from stemma.objectives.vectors import about, in_batch, lacks_vectors, read_vectors
from stemma.spec.pooling import Pooling


@dataclass(frozen=True, kw_only=True)
class Neighbours(Objective):
    """-log softmax(cos(u, .) / temperature) at v, for two pieces of one text among those of a batch's other texts.

    Either piece is cropped by itself, so that they may overlap (Izacard et al. 2022, Contriever, section 3.1).

    Args:
        shares: the least and the most of a text that a piece is.
        temperature: by which cosines are divided.
        pooling: how tokens become one vector.
        chunk: rows that are read at a time, and once more for the gradient; None reads all at once.
    """

    name: ClassVar[str] = "neighbours"
    reads: ClassVar[Reading] = "pieces"

    shares: tuple[float, float] = (0.1, 0.5)
    temperature: float = 0.05
    pooling: Pooling = Pooling()
    chunk: int | None = None

    def faults(self, setting: Setting) -> list[Fault]:
        """A network that reads several texts in a row, and values in their range."""
        least, most = self.shares
        needs = [
            Need(0 <= least <= most <= 1, f"shares={self.shares} to be two shares in order", "use such as (0.1, 0.5)"),
            Need(self.temperature > 0, f"temperature={self.temperature} above 0", "use such as 0.05"),
        ]
        return lacks_vectors(self.name, setting.spec, self.pooling, self.chunk) + lacking(self.name, needs)

    def arrange(self, row: Row, setting: Setting, draws: np.random.Generator) -> Example:
        """Two pieces of the text, each in a frame."""
        (text,) = row.pieces
        pieces = tuple(self._crop(text, setting.vocabulary.frame, draws) for _ in range(2))
        return about(laid_out(Row(pieces), setting.spec), self.name, np.zeros(1, dtype=np.int64))

    def losses(self, model: Any, companions: nn.ModuleDict, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy over the second pieces of a batch."""

        def cost(vectors: Tensor, asked: Asked) -> Tensor:
            return in_batch(vectors, self.temperature)

        return read_vectors(model, batch, self.name, self.pooling, cost, self.chunk)

    def _crop(self, text: Piece, frame: Frame, draws: np.random.Generator) -> Piece:
        ids = unframed(text.ids, frame)
        length = max(1, share_of(len(ids), draws.uniform(*self.shares)))
        begin = int(draws.integers(max(1, len(ids) - length + 1)))
        return replace(text, parts=(framed(ids[begin : begin + length], frame),))
