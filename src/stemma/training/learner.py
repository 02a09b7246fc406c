"""Everything that learns in a run, as one module whose passes give sums of losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from stemma.adaptation import Learning
from stemma.data import Row
from stemma.errors import InputError
from stemma.objectives import Batch, Pass, Setting, collate
from stemma.objectives.joined import joined
from stemma.spec.lineage import Shape


@dataclass(frozen=True)
class Lesson:
    """What is asked of the network in one pass, and the rows that it is asked about.

    Args:
        asks: the objectives of the pass.
        row: the row of any number from 0 on, always the same.
        setting: what rows are prepared for.
        multiple: lengths are rounded up to a multiple of this.
        length: of every row, where it is known.
        packed: the most tokens of a row in which rows of one document each are joined; None joins none.
        share: of the rows of a step that are read, where another lesson needs them all.
    """

    asks: Pass
    row: Callable[[int], Row]
    setting: Setting
    multiple: int = 1
    length: int | None = None
    packed: int | None = None
    share: float = 1.0

    def batch(self, numbers: Sequence[int]) -> Batch:
        """The rows of these numbers, or its share of so many that follow each other, ready for the network."""
        if self.share != 1.0:
            numbers = range(int(numbers[0] * self.share), int((numbers[-1] + 1) * self.share))
        examples = [self.asks.prepare(self.row(number), self.setting) for number in numbers]
        if self.packed is not None:
            examples = [row.example for row in joined(examples, self.packed)]
        pad = self.setting.vocabulary.roles.pad or 0
        return collate(examples, pad=pad, multiple=self.multiple, length=self.length)

    def loss(self, sums: Mapping[str, Tensor], counts: Mapping[str, float]) -> Tensor | float:
        """The weighted sum of each term's mean over the targets of a whole step.

        Args:
            sums: of the losses of some of the step's rows.
            counts: targets of each term in all of its rows.
        """
        return sum((self.asks.weight(term) / max(1, counts[term]) * value for term, value in sums.items()), start=0.0)


class Learner(nn.Module):
    """A model and what learns, or teaches, beside it.

    Args:
        model: a `Model` or a `RecurrentModel`.
        lessons: what it learns by, at least one.
        seed: of the companions' first parameters.
        paces: how the model's parameters learn, by their names in it; the others are as they were when it was loaded.
            Where not given all learn alike, and a checkpoint holds them all.

    Raises:
        InputError: naming everything that the model or the vocabulary lacks for an objective.
    """

    def __init__(
        self,
        model: nn.Module,
        lessons: Sequence[Lesson],
        seed: int = 0,
        paces: Mapping[str, Learning] | None = None,
    ) -> None:
        super().__init__()
        self.partial = paces is not None
        self._paces = {f"model.{name}": pace for name, pace in (paces or {}).items()}
        if faults := [fault for lesson in lessons for fault in lesson.asks.faults(lesson.setting)]:
            raise InputError("objectives", faults)
        self.lessons = tuple(lessons)
        self.model = model
        self.companions = nn.ModuleList(_companions(lesson, seed) for lesson in lessons)
        for lesson, companions in zip(self.lessons, self.companions, strict=True):
            for objective in lesson.asks.objectives:
                assert isinstance(companions, nn.ModuleDict), "made so"
                objective.share(model, companions)

    @property
    def spec(self) -> Shape:
        """The model's architecture."""
        return self.lessons[0].setting.spec

    def pace(self, name: str) -> Learning:
        """How a parameter learns, by its name in this module."""
        return self._paces.get(name, Learning())

    @contextmanager
    def thawed(self, share: float) -> Iterator[None]:
        """While this is entered, parameters that begin to learn later are frozen.

        Args:
            share: of the run's steps that are over.
        """
        waiting = [one for name, one in self.named_parameters() if one.requires_grad and self.pace(name).begins > share]
        for parameter in waiting:
            parameter.requires_grad_(False)
        yield
        for parameter in waiting:
            parameter.requires_grad_(True)

    def train(self, mode: bool = True) -> Learner:
        """As ever; but what teaches and never learns stays as it is used."""
        super().train(mode)
        for companions in self.companions:
            for companion in companions.children():
                if not any(parameter.requires_grad for parameter in companion.parameters()):
                    companion.eval()
        return self

    def forward(self, number: int, batch: Batch) -> Mapping[str, Tensor]:
        """The sum over targets of each term's loss in one pass, in nats.

        Losses are computed in here, not beside the module, because whoever shards parameters gathers them for a call.

        Args:
            number: of the lesson.
            batch: of its rows.
        """
        companions: Any = self.companions[number]
        return self.lessons[number].asks.losses(self.model, companions, batch)

    def name(self, number: int, term: str) -> str:
        """What a term of a lesson is called in reports: by itself, where there is one lesson."""
        return term if len(self.lessons) == 1 else f"{self.lessons[number].asks.name}.{term}"


def _companions(lesson: Lesson, seed: int) -> nn.ModuleDict:
    found: dict[str, nn.Module] = {}
    for objective in lesson.asks.objectives:
        found.update(objective.companions(lesson.setting, seed).items())
    return nn.ModuleDict(found)
