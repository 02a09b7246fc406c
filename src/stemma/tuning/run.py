"""A tuning run as one value: which checkpoint, for which task, by which adaptations, from which records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stemma.adaptation import Adaptation, Full
from stemma.adaptation.catalogue import named
from stemma.data import Files, Labelled, Source
from stemma.errors import Fault, InputError
from stemma.objectives.tasks import Task
from stemma.training import AdamW, Evaluation, Linear, Optimiser, Saving, Schedule, TrainPlan

if TYPE_CHECKING:
    from stemma.training import Tracker
    from stemma.tuning.record import Result


MANY = 1 << 30
"""Examples of a run whose records have not been read: so many that no rule of its steps is broken."""


@dataclass(frozen=True, kw_only=True)
class Adapt(TrainPlan):
    """A `TrainPlan`, and what is adapted by it; a run file holds these fields.

    The optimiser's and the schedule's usual values are those of BERT's fine-tuning (Devlin et al. 2019, appendix A.3).

    Args:
        model: the name or folder of a checkpoint.
        task: what it is to do.
        learnt: the records that it learns from.
        tried: those by which the best checkpoint is chosen.
        tested: those that are read once, at the end.
        adaptations: what is added to the network, and what of it learns.
        epochs: how often every record is read, where no steps are given.
        steps: of the optimiser; 0 for as many as the epochs have.
        length: the most tokens of a text.
        old: text such as the network was pretrained on: what it forgets of it is measured; None measures nothing.
        replay: old rows for each row of the task, between 0 and 1; their loss has this weight.
        folder: of everything that the run writes; a run whose folder stands goes on from its newest checkpoint.
        cache: of tokenised text and of features, where runs share them.
        licence: of the data, for the model's card.

    Raises:
        InputError: naming every value that breaks a rule.
    """

    model: str
    task: Task
    learnt: Labelled
    tried: Labelled | None = None
    tested: Labelled | None = None
    adaptations: tuple[Adaptation, ...] = (Full(),)
    epochs: float = 3.0
    steps: int = 0
    rows: int = 32
    optimiser: Optimiser = AdamW(lr=5e-5, betas=(0.9, 0.999), weight_decay=0.0)
    schedule: Schedule = Linear()
    evaluation: Evaluation | None = None
    saving: Saving = Saving(every=1_000_000, last=1)
    length: int = 128
    old: Source | None = field(default_factory=lambda: Files(paths=("pydoc",), split="paragraph"))
    replay: float = 0.0
    folder: str | Path = "adapted"
    cache: str | Path | None = None
    licence: str = "unknown"

    def __post_init__(self) -> None:
        object.__setattr__(self, "adaptations", tuple(self.adaptations))
        faults: list[Fault] = list(self._own_faults())
        try:
            self.plan(MANY)
        except InputError as error:
            faults += error.faults
        if faults:
            raise InputError("adapt", faults)

    def _own_faults(self) -> Iterator[Fault]:
        if not (math.isfinite(self.epochs) and self.epochs > 0):
            yield Fault("epochs", self.epochs, "must be a number above 0", "use 3")
        if type(self.steps) is not int or self.steps < 0:
            yield Fault("steps", self.steps, "must be a whole number of at least 0", "use 0, and give epochs")
        if self.length < 2:
            yield Fault("length", self.length, "must be at least 2", "give the most tokens of a text")
        if not 0 <= self.replay <= 1:
            yield Fault("replay", self.replay, "must lie in [0, 1]", "use such as 0.25, or 0 for none")
        if self.replay and self.old is None:
            yield Fault("replay", self.replay, "needs old text", "name some as old")
        if self.replay and isinstance(self.rows, int) and self.rows * self.replay < self.micro_batches:
            rule = f"makes fewer than one old row in each part of a step of {self.rows}"
            yield Fault("replay", self.replay, rule, "raise one of the two")
        if not self.adaptations:
            yield Fault("adaptations", (), "must not be empty", "use Full() to tune everything")

    @property
    def named(self) -> dict[str, Adaptation]:
        """The adaptations by their names: each its kind, and a number where there are several of one."""
        return named(self.adaptations)

    def plan(self, n_examples: int) -> TrainPlan:
        """The plan with its number of steps, tried once an epoch where nothing else is said.

        Args:
            n_examples: that an epoch reads.
        """
        an_epoch = max(1, math.ceil(n_examples / self.rows)) if isinstance(self.rows, int) and self.rows > 0 else 1
        steps = self.steps or max(1, math.ceil(n_examples * self.epochs / max(1, self.rows)))
        own = {one.name: getattr(self, one.name) for one in fields(TrainPlan)}
        evaluation = self.evaluation or Evaluation(every=an_epoch)
        return TrainPlan(**own | {"steps": max(1, steps), "evaluation": evaluation})

    def with_seed(self, seed: int) -> Adapt:
        """The same with another seed, in a folder of its own below."""
        return replace(self, seed=seed, folder=Path(self.folder) / f"seed-{seed}")

    def train(self, trackers: Iterable[Tracker] = (), *, device: str | None = None, resume: bool = False) -> Result:
        """Adapt to the end, alone or as one of the processes that `torchrun` started.

        Args:
            trackers: told of the run.
            device: "cpu" or "cuda"; a GPU where there is one, if not given.
            resume: go on with the run of the folder although some of its settings are others now.

        Raises:
            StemmaError: naming what is at fault in the run, its data or its folder.
        """
        from stemma.tuning.course import carry_out

        return carry_out(self, trackers, device=device, resume=resume)


def sweep(run: Adapt, seeds: Sequence[int]) -> list[Result]:
    """The same run with several seeds; one that is over is not run again.

    Args:
        run: itself; its folder holds one for each seed.
        seeds: at least one.
    """
    return [run.with_seed(seed).train() for seed in seeds]
