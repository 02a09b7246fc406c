"""What a task is: labelled records to questions about a text, and a head's scores to answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from torch import Tensor, nn

from stemma.data import Kind, Reading, Record, Row, known
from stemma.errors import Fault, InputError
from stemma.objectives.example import Asked, Batch, Example
from stemma.objectives.objective import Objective, Setting, read_losses
from stemma.objectives.tasks.scribe import Scribe
from stemma.spec.architecture import Architecture

HeadKind = Literal["classifier", "choice", "tagger", "answer"]


@dataclass(frozen=True, kw_only=True)
class Task(Objective):
    """Something to be told of a text, and what it costs to tell it wrongly.

    A subclass says which roles its records have, makes examples of them, reads scores out of a pass and turns the
    scores of a record's examples into an answer.

    Args:
        labels: the names of the classes, in the order of the scores; where not given those that the records have.
    """

    reads: ClassVar[Reading] = "given"
    needs: ClassVar[Mapping[str, Kind]]
    labelled: ClassVar[str | None] = None
    """The role whose values are classes."""
    head: ClassVar[HeadKind | None] = None
    """The head that it adds; None where one that scores the vocabulary serves."""
    term: ClassVar[str]
    measures: ClassVar[str]
    """The figure by which models are compared, the larger the better."""

    labels: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """How many scores the head has."""
        return len(self.labels)

    def roles(self, records: bool = True) -> Mapping[str, Kind]:
        """The roles that are read.

        Args:
            records: whether there are answers, too.
        """
        return self.needs

    def named(self, records: Sequence[Record]) -> Self:
        """The task with the names of its classes.

        Raises:
            InputError: where records name classes that it does not have, or fewer than two.
        """
        if self.labelled is None:
            return self
        found = self.labels or known(records, self.labelled)
        if len(found) < 2:
            rule = "must be at least two"
            raise InputError(self.name, Fault("labels", found, rule, "give records of every class"))
        return replace(self, labels=found)

    def examples(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """What is asked about each record: one example, or several where it is long.

        Args:
            records: with the roles that the task needs; without answers they may be asked, but not learnt from.
            scribe: writes their texts down.
        """
        raise NotImplementedError

    def questions(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """What is asked of a network that has learnt: the same, unless what is right would be told by it."""
        return self.examples(records, scribe)

    def scores(self, model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        """What the network says to each question of a batch.

        Args:
            model: the network.
            output: of its pass.
            batch: what it read.
            asked: the questions.
        """
        raise NotImplementedError

    def cost(self, scores: Tensor, asked: Asked) -> Tensor:
        """The sum of the losses of what was said."""
        raise NotImplementedError

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> Any:
        """The answer to a record.

        Args:
            record: itself.
            asked: the examples that were made of it, by `questions`.
            scores: of each of them, its questions in their order.
        """
        raise NotImplementedError

    def measure(self, records: Sequence[Record], told: Sequence[Any]) -> Mapping[str, float]:
        """How good answers are, figures by their names.

        Args:
            records: with what is right.
            told: the answer to each.
        """
        raise NotImplementedError

    def arrange(self, row: Row, setting: Setting, draws: np.random.Generator) -> Example:
        """The example that was made of a record beforehand."""
        assert isinstance(row.given, Example), "rows of a task are examples"
        return row.given

    def losses(self, model: Any, companions: nn.ModuleDict, batch: Batch) -> Mapping[str, Tensor]:
        """The sum of the loss over all questions, in nats."""
        return read_losses(model, batch, readers={self.term: self._read})

    def _read(self, model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        return self.cost(self.scores(model, output, batch, asked).float(), asked)


def hidden_of(model: Any, output: Any) -> Tensor:
    """What a task's head reads: a recurrent network may mix its layers."""
    hidden: Tensor = output.hidden if isinstance(model.architecture, Architecture) else output.read
    return hidden
