"""What tasks on the vectors of texts have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from stemma.data import Kind, Record
from stemma.errors import Fault
from stemma.objectives.example import Asked, Batch, Example
from stemma.objectives.joined import beside
from stemma.objectives.lacking import Need, lacking
from stemma.objectives.objective import Setting
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.tasks.task import Task
from stemma.objectives.vectors import about, lacks_vectors, read_vectors, vectors_of, width_of
from stemma.spec.pooling import Pooling


@dataclass(frozen=True, kw_only=True)
class SentenceTask(Task):
    """Something to be told of the vectors of a record's texts, all given by one network (Sentence-BERT).

    Args:
        pooling: how tokens become a text's vector; the network's own where not given, else their mean.
        dimensions: sizes to which vectors are cut and then scaled to length 1; the loss is the sum over them
            (Kusupati et al. 2022, Matryoshka, section 3). Where there are none, vectors are used as they are.
        chunk: rows that are read at a time, and once more for the gradient, where all vectors of a large batch are to
            be compared on little memory (Gao et al. 2021, GradCache); None reads all at once.
    """

    texts: ClassVar[tuple[str, ...]] = ("text", "second")
    """The roles of the texts."""

    pooling: Pooling | None = None
    dimensions: tuple[int, ...] = ()
    chunk: int | None = None

    def faults(self, setting: Setting) -> list[Fault]:
        """A network that keeps the texts of a row apart, and sizes that its vectors have."""
        if faults := lacks_vectors(self.name, setting.spec, self.pooling or Pooling(), self.chunk):
            return faults
        width = width_of(setting.spec)
        fits = all(0 < size <= width for size in self.dimensions)
        need = Need(fits, f"dimensions={self.dimensions} of 1 to {width}", "name sizes that vectors can be cut to")
        return lacking(self.name, [need, *self.own_needs()])

    def own_needs(self) -> Iterator[Need]:
        """What its own values need."""
        yield from ()

    def roles(self, records: bool = True) -> Mapping[str, Kind]:
        """The texts, and what is right about them."""
        texts: dict[str, Kind] = dict.fromkeys(self.texts, "text")
        return {**texts, **self.needs} if records else texts

    def examples(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """The texts of a record, each a document of one example."""
        for example, right in zip(self._written(records, scribe), self.right(records, scribe), strict=True):
            yield [about(example, self.term, right)]

    def questions(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """The same; nothing is known of what is right."""
        for example in self._written(records, scribe):
            yield [about(example, self.term, np.zeros(1, dtype=np.int64))]

    def _written(self, records: Sequence[Record], scribe: Scribe) -> Iterator[Example]:
        texts = [self.texts_of(record) for record in records]
        written = iter(scribe.encode([text for several in texts for text in several]))
        for several in texts:
            yield beside([scribe.example(next(written).ids) for _ in several])

    def texts_of(self, record: Record) -> tuple[str, ...]:
        """The texts of a record, as many of each."""
        return tuple(record[role] for role in self.texts)

    def right(self, records: Sequence[Record], scribe: Scribe) -> Iterator[np.ndarray]:
        """What is right about each record, 1 or 1 x any; by itself nothing."""
        yield from np.zeros((len(records), 1), dtype=np.int64)

    def scores(self, model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        """The vectors of each record's texts, n k D."""
        return vectors_of(output.hidden, batch, asked, self.pooling or Pooling())

    def losses(self, model: Any, companions: nn.ModuleDict, batch: Batch) -> Mapping[str, Tensor]:
        """The sum over records, and over the sizes of vectors."""

        def cost(vectors: Tensor, asked: Asked) -> Tensor:
            return self.cost(vectors, asked, companions)

        return read_vectors(model, batch, self.term, self.pooling or Pooling(), cost, self.chunk)

    def cost(self, scores: Tensor, asked: Asked, companions: nn.ModuleDict | None = None) -> Tensor:
        """The sum over the sizes of what vectors of each cost."""
        return sum((self.compared(one, asked, companions) for one in self.cut(scores)), start=scores.new_zeros(()))

    def cut(self, vectors: Tensor) -> list[Tensor]:
        """The vectors at each size."""
        return [functional.normalize(vectors[..., :size], dim=-1) for size in self.dimensions] or [vectors]

    def compared(self, vectors: Tensor, asked: Asked, companions: nn.ModuleDict | None) -> Tensor:
        """The sum of what n k D vectors cost."""
        raise NotImplementedError

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> Any:
        """The cosine of the first text with the second; with each other one, where there are several."""
        first, *others = unit(scores[0][0])
        found = tuple(float(first @ other) for other in others)
        return found[0] if len(found) == 1 else found


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to length 1, in double precision; one without a length stays."""
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=-1, keepdims=True)
    return np.asarray(exact / np.where(lengths == 0, 1, lengths))
