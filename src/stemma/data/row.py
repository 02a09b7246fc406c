"""What stands in one row of a batch, before an objective says what is asked about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

Reading = Literal["stream", "whole", "pieces", "neighbours", "pairs", "given"]
"""How a corpus becomes rows.

- "stream": framed documents, one after the other, cut wherever a row is full.
- "whole": framed documents, as many in a row as find room; only one that is longer than a row is cut.
- "pieces": one framed document a row, or a part of one that is longer.
- "neighbours": a part of a document without a frame, and one of another document, drawn at random.
- "pairs": a document of two parts without frames: a sentence and its translation, a question and its answer.
- "given": what a task made of a labelled record beforehand.
"""


@dataclass(frozen=True)
class Frame:
    """Ids that stand around every document.

    Args:
        before: such as [CLS].
        after: such as [SEP], or the end of text.
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.before) + len(self.after)


@dataclass(frozen=True)
class Piece:
    """A stretch of one document.

    Args:
        parts: ids; two parts where documents are pairs, else one.
        languages: number of each part's language, as the corpora count them.
        document: number of the document in its run of corpora.
    """

    parts: tuple[Ids, ...]
    languages: tuple[int, ...] = (0,)
    document: int = 0

    @property
    def ids(self) -> Ids:
        """Those of a piece of one part."""
        (only,) = self.parts
        return only


@dataclass(frozen=True)
class Row:
    """Pieces that are read together.

    Args:
        pieces: in their order; with "neighbours" the second is the stranger.
        key: what the random draws about this row are seeded with; equal keys give equal draws.
        given: what a task made of a labelled record; there are no pieces then.
    """

    pieces: tuple[Piece, ...]
    key: tuple[int, ...] = (0,)
    given: object = None

    def draws(self) -> np.random.Generator:
        """The row's own source of randomness: the same however rows are spread over steps and machines."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.key)))
