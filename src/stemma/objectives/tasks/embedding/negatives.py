"""Pairs that belong together, among all others of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from stemma.data import Kind, Record
from stemma.errors import Fault, InputError
from stemma.metrics import matching_accuracy
from stemma.objectives.example import Asked, Example
from stemma.objectives.lacking import Need
from stemma.objectives.tasks.embedding.sentences import SentenceTask, unit
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.vectors import in_batch


@dataclass(frozen=True, kw_only=True)
class MultipleNegatives(SentenceTask):
    """-log softmax(cos(u_i, .) / temperature) at v_i, among the second texts of all records that are read together.

    Henderson et al. 2017, section 4.4. The more rows a step reads together, the harder is the question: `chunk` lets
    them be many. Each part and each process of a step compares its own rows.

    Args:
        temperature: by which cosines are divided.
        hard: whether each record has "negatives", texts that are like the first but do not belong to it.
        both_ways: also look for u_i from v_i, and take the mean of both.
    """

    name: ClassVar[str] = "multiple-negatives"
    needs: ClassVar[Mapping[str, Kind]] = {}
    term: ClassVar[str] = "match"
    measures: ClassVar[str] = "matching"

    temperature: float = 0.05
    hard: bool = False
    both_ways: bool = False

    def own_needs(self) -> Iterator[Need]:
        """A temperature."""
        yield Need(self.temperature > 0, f"temperature={self.temperature} above 0", "use such as 0.05")

    def roles(self, records: bool = True) -> Mapping[str, Kind]:
        """The texts, and what does not belong to them."""
        hard: dict[str, Kind] = {"negatives": "texts"}
        return {**super().roles(records), **(hard if self.hard and records else {})}

    def texts_of(self, record: Record) -> tuple[str, ...]:
        """The pair, and its hard negatives."""
        return super().texts_of(record) + (tuple(record.get("negatives", ())) if self.hard else ())

    def examples(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """The texts of a record, each a document of one example.

        Raises:
            InputError: where records have unlike numbers of hard negatives.
        """
        numbers = sorted({len(self.texts_of(record)) - 2 for record in records})
        if len(numbers) > 1:
            rule = "must be one number for all records"
            raise InputError(self.name, Fault("negatives", numbers, rule, "leave out the surplus"))
        return super().examples(records, scribe)

    def compared(self, vectors: Tensor, asked: Asked, companions: nn.ModuleDict | None) -> Tensor:
        """Cross-entropy over the batch."""
        return in_batch(vectors, self.temperature, both_ways=self.both_ways)

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> np.ndarray:
        """The vectors of the pair, of length 1."""
        return unit(scores[0][0, :2])

    def measure(self, records: Sequence[Record], told: Sequence[np.ndarray]) -> dict[str, float]:
        """How often the nearest among all second texts is a text's own, and the nearest first text a second's own."""
        return matching(told)


def matching(pairs: Sequence[np.ndarray]) -> dict[str, float]:
    """How often the nearest neighbour is a text's own partner, both ways and in the mean.

    Args:
        pairs: vectors, 2 x D each.

    >>> matching([np.array([[1, 0], [1, 0]]), np.array([[0, 1], [2, 1]])])
    {'matching': 0.75, 'forward': 1.0, 'backward': 0.5}
    """
    found = matching_accuracy(*np.stack(list(pairs), axis=1))
    return {"matching": sum(found) / 2, **found._asdict()}
