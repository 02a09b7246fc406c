"""The loop: rows to losses, losses to gradients, gradients to steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from stemma.data.prefetch import Prefetch
from stemma.objectives import Batch, compiled_costs, counts
from stemma.training.average import Average
from stemma.training.checkpoint import Beside, Checkpoints
from stemma.training.distributed import Team, clip, gradient_norm, place
from stemma.training.learner import Learner, Lesson
from stemma.training.meters import Meter
from stemma.training.optimisers import learning, set_rate
from stemma.training.plan import TrainPlan
from stemma.training.signals import Interruption
from stemma.training.state import Progress, State
from stemma.training.trackers import Tracker, Trackers

Term = tuple[int, str]
"""The number of a lesson and a term of its loss."""

# What processes tell each other beside the targets of each term.
_TOKENS, _SIGNALS = (-1, "tokens"), (-1, "signals")

Ended = Literal["steps", "patience", "interrupted", "stopped"]
"""Why a run ended: all steps are done, held-out loss fell no more, a signal came, or a guard stopped it."""

Judge = Callable[[], tuple[Mapping[str, float], float]]
"""Tries the network on a task: figures by their names, and a score of which less is better."""

_ALONE = Team()


@dataclass(frozen=True)
class Step:
    """What a process reads at one step.

    Args:
        parts: for each lesson its micro-batches.
        counts: targets of each term in all of them.
    """

    parts: tuple[tuple[Batch, ...], ...]
    counts: Mapping[Term, float]

    @property
    def n_tokens(self) -> int:
        """Real tokens."""
        return sum(batch.n_tokens for batches in self.parts for batch in batches)


def prepare(lessons: Sequence[Lesson], plan: TrainPlan, team: Team, step: int) -> Step:
    """The rows of a step that are this process's, ready for the network; a pure function of the step's number."""
    slices = plan.slices(step, team.rank, team.world)
    parts = tuple(tuple(lesson.batch(rows) for rows in slices) for lesson in lessons)
    found: dict[Term, float] = {}
    for number, batches in enumerate(parts):
        for batch in batches:
            for term, count in counts(batch).items():
                found[number, term] = found.get((number, term), 0) + count
    return Step(parts, found)


def accumulate(
    learner: Learner, step: Step, totals: Mapping[Term, float], plan: TrainPlan, team: Team, at: int = 0
) -> dict[Term, float]:
    """Read a step's micro-batches one by one and add up losses and, where gradients are on, gradients.

    Each part's sums are divided by the targets of the whole step, so that neither the number of parts nor that of
    processes changes what they add up to.

    Args:
        learner: what reads.
        step: what this process reads.
        totals: targets of each term in the rows of all processes.
        plan: precision and seed.
        team: all processes.
        at: the number of the step, which dropout is drawn for.

    Returns:
        The sum of each term's losses over this process's rows, in nats.
    """
    sums: dict[Term, Tensor] = {}
    reduced = torch.autocast(team.device.type, torch.bfloat16) if plan.precision == "bfloat16" else nullcontext()
    for part in range(plan.micro_batches):
        for number, lesson in enumerate(learner.lessons):
            # Drawn anew for each part: a run resumes, on as many processes as it likes, without any random state.
            _seed(plan.seed, at, team.rank * plan.micro_batches + part, number)
            with reduced, compiled_costs(plan.compile):
                found = learner(number, step.parts[number][part].to(team.device))
                loss = lesson.loss(found, {term: totals[number, term] for term in found})
            if isinstance(loss, Tensor) and loss.requires_grad:
                # Processes average their gradients where they are to add them up.
                (loss * team.world).backward()  # type: ignore[no-untyped-call]
            for term, value in found.items():
                sums[number, term] = sums.get((number, term), 0.0) + value.detach().double()
    values = torch.stack(list(sums.values())).tolist() if sums else []
    return dict(zip(sums, values, strict=True))


def means(learner: Learner, sums: Mapping[Term, float], totals: Mapping[Term, float]) -> dict[str, float]:
    """The weighted loss, and the mean of each term over its targets, in nats."""
    total, named = 0.0, {}
    for (number, term), value in sums.items():
        mean = value / max(1, totals[number, term])
        total += learner.lessons[number].asks.weight(term) * mean
        named[f"loss.{learner.name(number, term)}"] = mean
    return {"loss": total, **named}


@torch.no_grad()
def evaluate(state: State, held_out: Sequence[Lesson], plan: TrainPlan, team: Team = _ALONE) -> dict[str, float]:
    """The losses on held-out rows, those of the average where one is kept; the same rows each time.

    Args:
        state: what is tried.
        held_out: the lessons with rows that it does not learn from.
        plan: how many of them are read.
        team: all processes.
    """
    learner, sums, targets = state.learner, dict[Term, float](), dict[Term, float]()
    learner.eval()
    with state.average.worn() if state.average else nullcontext():
        for number in range(plan.evaluation.batches if plan.evaluation else 1):
            step = prepare(held_out, plan, team, number)
            found = team.sum(step.counts)
            for term, value in team.sum(accumulate(learner, step, found, plan, team)).items():
                sums[term] = sums.get(term, 0.0) + value
                targets[term] = targets.get(term, 0.0) + found[term]
    learner.train()
    return means(learner, sums, targets)


def _try(
    state: State, held_out: Sequence[Lesson], judge: Judge | None, plan: TrainPlan, team: Team
) -> tuple[dict[str, float], float]:
    """What is told of held-out rows, and the score by which checkpoints are compared."""
    found = evaluate(state, held_out, plan, team) if held_out else {}
    if judge is None:
        return found, found["loss"]
    state.learner.eval()
    with torch.no_grad(), state.average.worn() if state.average else nullcontext():
        figures, score = judge()
    state.learner.train()
    return {**found, **figures}, score


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        ended: why.
        progress: where.
        newest: the last checkpoint; None where none were written.
        best: the one that did best on held-out rows.
    """

    ended: Ended
    progress: Progress
    newest: Path | None = None
    best: Path | None = None


def begin(learner: Learner, plan: TrainPlan, team: Team = _ALONE) -> State:
    """A run at its first step: parameters where they compute, and optimisers that have seen nothing.

    Raises:
        InputError: where the plan does not fit the network or the processes.
    """
    team.check(plan)
    place(learner, plan, team)
    average = None if plan.average is None else Average(learning(learner), plan.average)
    return State(learner.train(), plan.optimiser.build(learner), average, Progress())


def train(
    learner: Learner,
    plan: TrainPlan,
    *,
    folder: Path | None = None,
    held_out: Sequence[Lesson] = (),
    trackers: Iterable[Tracker] = (),
    team: Team = _ALONE,
    beside: Beside | None = None,
    judge: Judge | None = None,
) -> Outcome:
    """Train, from the newest checkpoint in the folder on if there is one.

    Args:
        learner: what learns.
        plan: how.
        folder: for checkpoints; none are written where not given.
        held_out: the same lessons with held-out rows, where the plan evaluates.
        trackers: told of losses, rates and events.
        team: the processes, from `assemble`.
        beside: writes further files into each checkpoint.
        judge: tries the network whenever held-out rows are read; its score takes the place of their loss.

    Raises:
        InputError: where the plan does not fit the network or the processes.
        CheckpointError: no checkpoint can be written, or none that stands can be read.
    """
    state = begin(learner, plan, team)
    parameters = list(learning(learner).values())
    saves = None if folder is None else Checkpoints(folder, plan, team, beside)
    ended: Ended | None = None
    with ExitStack() as stack:
        told = stack.enter_context(Trackers(trackers if team.leads else ()))
        events = saves.restore(state) if saves else []
        progress = state.progress
        told.begin(progress.step, plan.steps)
        for event in events:
            told.note(progress.step, event)
        interruption = stack.enter_context(Interruption())
        steps = stack.enter_context(Prefetch(partial(prepare, learner.lessons, plan, team), progress.step))
        meter = Meter(learner.spec, team, plan.precision, progress)
        while ended is None:
            if progress.step >= plan.steps:
                ended = "steps"
                break
            # 1. Rows, and how many targets they have in all processes together.
            now, step = progress.step, next(steps)
            totals = team.sum({**step.counts, _TOKENS: step.n_tokens, _SIGNALS: interruption.came})
            # 2. Losses and gradients, one micro-batch after the other.
            with learner.thawed(now / plan.steps):
                sums = accumulate(learner, step, totals, plan, team, now)
            losses = means(learner, team.sum(sums), totals)
            # 3. The step itself, if both are sound.
            norm = gradient_norm(parameters)
            verdict = progress.watch.judge(losses["loss"], norm, plan.guards)
            rate = set_rate(state.optimisers, plan.schedule.factor(now, plan.steps))
            if verdict.taken:
                clip(parameters, norm, plan.clip)
                for optimiser in state.optimisers:
                    optimiser.step()
                if state.average:
                    state.average.update(now)
            learner.zero_grad()
            # 4. What is told of it.
            progress.step += 1
            last = progress.step == plan.steps
            progress.tokens += int(totals[_TOKENS])
            meter.step(step.parts, totals[_TOKENS], steps.waited)
            if verdict.event is not None:
                told.note(progress.step, verdict.event)
            if progress.step % plan.log_every == 0 or last:
                speed = meter.read(plan.steps - progress.step)
                told.log(progress.step, {**losses, "rate": rate, "norm": norm, "tokens": progress.tokens, **speed})
            # 5. Held-out rows.
            score = None
            due = plan.evaluation is not None and (progress.step % plan.evaluation.every == 0 or last)
            if plan.evaluation and due and (held_out or judge):
                tried, score = _try(state, held_out, judge, plan, team)
                told.log(progress.step, {f"held_out.{name}": value for name, value in tried.items()})
                if progress.waited_for(score) == plan.evaluation.patience:
                    ended = "patience"
            # 6. A checkpoint, and the end.
            if totals[_SIGNALS]:
                ended = "interrupted"
            if verdict.stop:
                ended = "stopped"
            best = score is not None and progress.waiting == 0
            due = progress.step % plan.saving.every == 0 or last
            if saves and (best or due or ended):
                saves.save(state, score)
            meter.skip()
        told.note(progress.step, f"ended: {ended}")
    newest = saves.all() if saves else []
    return Outcome(ended, progress, newest[-1] if newest else None, saves.best() if saves else None)


def _seed(*numbers: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))
