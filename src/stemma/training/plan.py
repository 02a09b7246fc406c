"""A run's settings as one value, checked as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from stemma.errors import Fault, InputError
from stemma.training.optimisers import AdamW, Optimiser
from stemma.training.schedules import Cosine, Schedule, WarmupStableDecay

Precision = Literal["float32", "bfloat16"]
Policy = Literal["skip", "report", "stop"]


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What to do about a step whose loss or gradient is no number, or whose loss leaps.

    "report" goes on as if nothing were, "skip" leaves the parameters as they are, "stop" ends the run before them.

    Args:
        broken: where loss or gradient is not finite.
        spike: where the loss lies far above its running mean.
        deviations: how far, in running standard deviations.
        memory: of the running mean and deviation: what a step's weight is multiplied with at each step that follows.
        patience: steps before the first spike can be told.
        most: steps in a row that may be skipped; one more stops the run.
    """

    broken: Policy = "skip"
    spike: Policy = "report"
    deviations: float = 6.0
    memory: float = 0.98
    patience: int = 50
    most: int = 20


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """When held-out rows are read.

    Args:
        every: steps; after the last step they always are.
        batches: of a step's size that are read.
        patience: evaluations without a better loss after which the run ends; None goes on.
    """

    every: int
    batches: int = 1
    patience: int | None = None


@dataclass(frozen=True, kw_only=True)
class Saving:
    """When checkpoints are written and which of them are kept; the best on held-out rows always is.

    Args:
        every: steps; the last step's is always written.
        last: how many of the newest are kept.
        milestones: steps whose multiples are kept for ever; None keeps none.
    """

    every: int = 1000
    last: int = 2
    milestones: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """Everything about a run but the network, what it learns by and what it reads.

    Args:
        steps: of the optimiser.
        rows: of each pass in a step, over all processes.
        micro_batches: parts that a process reads one after the other; they change no result.
        optimiser: how parameters move.
        schedule: how fast.
        clip: the largest norm of the gradient (Pascanu et al. 2013, algorithm 1); None clips nothing.
        precision: of products and activations; parameters are single precision.
        compile: compile the network.
        recompute: keep no activations inside blocks, but compute them again (Chen et al. 2016).
        average: decay of the parameters' moving average, which is evaluated and exported; None keeps none.
        guards: against numbers gone astray.
        evaluation: on held-out rows; None reads none.
        saving: of checkpoints.
        log_every: steps.
        seed: of dropout and of companions' first parameters.
        tensor_parallel: processes that share each block's matrices.

    Raises:
        InputError: naming every value that breaks a rule.
    """

    steps: int
    rows: int
    micro_batches: int = 1
    optimiser: Optimiser = AdamW()
    schedule: Schedule = Cosine()
    clip: float | None = 1.0
    precision: Precision = "float32"
    compile: bool = False
    recompute: bool = False
    average: float | None = None
    guards: Guards = Guards()
    evaluation: Evaluation | None = None
    saving: Saving = Saving()
    log_every: int = 10
    seed: int = 0
    tensor_parallel: int = 1

    def __post_init__(self) -> None:
        if faults := [*_broken("", self, TrainPlan), *self._disagreements()]:
            raise InputError("plan", faults)

    def _disagreements(self) -> Iterator[Fault]:
        """Values that are right by themselves and wrong together."""
        try:
            if self.rows % self.micro_batches:
                rule = f"must be a multiple of micro_batches={self.micro_batches}"
                yield Fault("rows", self.rows, rule, "make all parts of a step equal")
            taken = getattr(self.schedule, "warmup", 0)
            taken += self.schedule.decay if isinstance(self.schedule, WarmupStableDecay) else 0
            if taken > self.steps:
                rule = f"takes {taken} of {self.steps} steps"
                yield Fault("schedule", self.schedule, rule, "shorten it, or take more steps")
        except (TypeError, ZeroDivisionError):
            # One of them is no number, or zero: told by its own rule.
            return

    def slices(self, step: int, rank: int = 0, world: int = 1) -> list[range]:
        """Which rows a process reads at a step, a range for each of its micro-batches.

        >>> TrainPlan(steps=1, rows=8, micro_batches=2).slices(3, rank=1, world=2)
        [range(28, 30), range(30, 32)]
        """
        size = self.rows // (self.micro_batches * world)
        first = step * self.rows + rank * self.micro_batches * size
        return [range(first + part * size, first + (part + 1) * size) for part in range(self.micro_batches)]


class _Rule(NamedTuple):
    holds: Callable[[Any], bool]
    text: str
    remedy: str


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _one_of(kind: Any) -> _Rule:
    names = ", ".join(map(repr, get_args(kind)))
    return _Rule(lambda value: value in get_args(kind), f"must be one of {names}", "use one of them")


def _optional(rule: _Rule) -> _Rule:
    return _Rule(lambda value: value is None or rule.holds(value), rule.text, f"{rule.remedy}, or leave it out")


_POSITIVE = _Rule(lambda value: _number(value) and value > 0, "must be a number above 0", "raise it")
_NOT_NEGATIVE = _Rule(lambda value: _number(value) and value >= 0, "must be a number of at least 0", "use 0 for none")
_SHARE = _Rule(lambda value: _number(value) and 0 <= value < 1, "must lie in [0, 1)", "use a share below 1")
_INNER = _Rule(lambda value: _number(value) and 0 < value < 1, "must lie between 0 and 1", "use a share")
_COUNT = _Rule(lambda value: _whole(value) and value >= 1, "must be a whole number of at least 1", "use 1 or more")
_STEPS = _Rule(lambda value: _whole(value) and value >= 0, "must be a whole number of at least 0", "use 0 for none")
_SWITCH = _Rule(lambda value: isinstance(value, bool), "must be true or false", "use one of the two")
_PAIR = _Rule(
    lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(_SHARE.holds, value)),
    "must be two numbers in [0, 1)",
    "use such as (0.9, 0.95)",
)

# A name means the same in all parts, so that one table holds the rules of them all; a path tells the exceptions.
_RULES: Mapping[str, _Rule] = MappingProxyType(
    dict.fromkeys(("steps", "rows", "micro_batches", "every", "batches", "last", "log_every", "most"), _COUNT)
    | dict.fromkeys(("decay", "rounds", "tensor_parallel"), _COUNT)
    | dict.fromkeys(("warmup", "seed", "guards.patience"), _STEPS)
    | dict.fromkeys(("evaluation.patience", "milestones"), _optional(_COUNT))
    | dict.fromkeys(("lr", "eps", "deviations"), _POSITIVE)
    | dict.fromkeys(("momentum", "floor", "memory"), _SHARE)
    | dict.fromkeys(("compile", "recompute", "fused"), _SWITCH)
    | dict.fromkeys(("broken", "spike"), _one_of(Policy))
    | {
        "betas": _PAIR,
        "weight_decay": _NOT_NEGATIVE,
        "clip": _optional(_POSITIVE),
        "average": _optional(_INNER),
        "cut_fraction": _INNER,
        "ratio": _Rule(lambda value: _number(value) and value > 1, "must be a number above 1", "raise it"),
        "precision": _one_of(Precision),
    }
)


def _broken(path: str, part: Any, kind: Any = None) -> Iterator[Fault]:
    # Of a subclass the fields that it adds are its own to check.
    for field in fields(kind or part):
        value, here = getattr(part, field.name), f"{path}{field.name}"
        if is_dataclass(value):
            yield from _broken(f"{here}.", value)
        elif rule := _RULES.get(here) or _RULES.get(field.name):
            if not rule.holds(value):
                yield Fault(here, value, rule.text, rule.remedy)
        elif value is not None or here != "evaluation":
            yield Fault(here, value, "is of another kind", f"give a {field.type}")
