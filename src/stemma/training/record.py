"""Every figure of a run that is over."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from stemma.spec import recurrent
from stemma.spec.estimate import Plan, footprint
from stemma.spec.lineage import Shape
from stemma.spec.recurrent import Recurrent
from stemma.training.baselines import Baseline, baselines, drawn_baselines
from stemma.training.distributed import Team
from stemma.training.learner import Learner, Lesson
from stemma.training.machine import Machine
from stemma.training.meters import batch_flops
from stemma.training.opening import LINES, Opened
from stemma.training.state import Progress
from stemma.training.trackers import read_lines

if TYPE_CHECKING:
    from stemma.training.run import Run

FORMAT = 1
_LOSS, _TRIED = "loss", "held_out."


@dataclass(frozen=True)
class Data:
    """A corpus, as it was read.

    Args:
        name: where it comes from.
        documents: that were learnt from.
        held_out: that were not.
        tokens: of both.
        report: what was met in it.
    """

    name: str
    documents: int
    held_out: int
    tokens: int
    report: str


@dataclass(frozen=True)
class Record:
    """A run in figures; losses are in nats.

    Args:
        format: of this record.
        family: of the network.
        objectives: what it learnt by.
        parameters: of the network alone.
        tokenizer: kind and size.
        ended: why: all steps done, no better on held-out rows, interrupted, or stopped.
        steps: that were taken.
        model_step: after which the model was taken that the folder holds.
        epochs: passes through the data, of each reading.
        tokens: real ones that were read.
        seconds: of work.
        tokens_per_second: in the mean.
        utilisation: share of the machine's fastest product, the median over the run; None where it is not known.
        flops: of all steps, as the network needs them.
        losses: the last of training, those on held-out rows when the model was taken; None for what is no number.
        baselines: what counting reaches on the same held-out targets.
        data: the corpora.
        machine: one device.
        processes: how many computed.
        kilowatt_hours: an estimate, by the device's usual watts.
        versions: of what computed.
    """

    format: int
    family: str
    objectives: tuple[str, ...]
    parameters: int
    tokenizer: str
    ended: str
    steps: int
    model_step: int
    epochs: tuple[float, ...]
    tokens: int
    seconds: float
    tokens_per_second: float
    utilisation: float | None
    flops: float
    losses: Mapping[str, Mapping[str, float | None]]
    baselines: Mapping[str, Baseline]
    data: tuple[Data, ...]
    machine: Machine
    processes: int
    kilowatt_hours: float
    versions: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)


def measure(
    run: Run,
    opened: Opened,
    lessons: Sequence[Lesson],
    ended: str,
    progress: Progress,
    step: int,
    counted: Mapping[str, Baseline],
    team: Team,
) -> Record:
    """What is known of a run.

    Args:
        run: itself.
        opened: what it was made of.
        lessons: what it learns by.
        ended: why, or that it has not.
        progress: where it stands.
        step: after which the model is taken.
        counted: what counting reaches.
        team: the processes.
    """
    lines, machine = read_lines(Path(run.folder) / LINES), Machine.of(team.device)
    processes = 1 if team.mesh is None else team.mesh.size()
    shares = [line["utilisation"] for line in lines if "utilisation" in line]
    hours = progress.seconds * processes / 3600
    return Record(
        FORMAT,
        opened.stored.family.name,
        tuple(one.name for one in run.objectives),
        sum(parameter.numel() for parameter in opened.stored.model.parameters()),
        f"{opened.tokenizer.kind}, {len(opened.tokenizer):,} tokens",
        ended,
        progress.step,
        step,
        tuple(round(run.rows * progress.step / rows, 3) for rows in opened.epochs),
        progress.tokens,
        progress.seconds,
        progress.tokens / progress.seconds if progress.seconds else 0.0,
        median(shares) if shares else None,
        _flops_a_token(run, lessons) * progress.tokens,
        {"train": _losses(lines, "", progress.step), "held_out": _losses(lines, _TRIED, step)},
        counted,
        tuple(
            Data(part.name, len(part.learnt), len(part.held_out or ()), part.learnt.meta["tokens"], str(part.report))
            for part in opened.parts
        ),
        machine,
        processes,
        footprint(hours, machine.watts, Plan.pue, Plan.carbon).kilowatt_hours,
        {"stemma": version("stemma-lm"), "torch": torch.__version__, "python": platform.python_version()},
    )


def finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Figures as JSON has them, which has no word for what is no number.

    >>> finite({"loss": 2.5, "next": float("nan")})
    {'loss': 2.5, 'next': None}
    """
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _losses(lines: list[dict[str, Any]], prefix: str, step: int) -> dict[str, float | None]:
    """The last that were told up to a step."""
    found: dict[str, float] = {}
    for line in lines:
        if line["step"] <= step and f"{prefix}{_LOSS}" in line:
            found = {
                name.removeprefix(prefix): value for name, value in line.items() if name.startswith(prefix + _LOSS)
            }
    return finite(found)


def counted_baselines(run: Run, opened: Opened, learner: Learner) -> dict[str, Baseline]:
    """What counting reaches on the held-out rows that a run is tried on."""
    found: dict[str, Baseline] = {}
    for number, (lesson, held_out) in enumerate(zip(opened.lessons, opened.held_out, strict=False)):
        terms = baselines(lesson, held_out, opened.epochs[number], run.rows * _n_batches(run))
        found |= {learner.name(number, term): baseline for term, baseline in terms.items()}
    return found


def drawn(run: Run, opened: Opened, learner: Learner, device: torch.device) -> dict[str, Baseline]:
    """The same for what companions draw, as they draw now."""
    found: dict[str, Baseline] = {}
    for number, held_out in enumerate(opened.held_out):
        tried = (held_out.batch(range(at * run.rows, (at + 1) * run.rows)) for at in range(_n_batches(run)))
        companions: Any = learner.companions[number]
        terms = drawn_baselines(held_out.asks, companions, (batch.to(device) for batch in tried))
        found |= {learner.name(number, term): baseline for term, baseline in terms.items()}
    return found


def _n_batches(run: Run) -> int:
    return run.evaluation.batches if run.evaluation else 1


def _flops_a_token(run: Run, lessons: Sequence[Lesson]) -> float:
    """Of a step, forwards and backwards, in the mean over the rows of the first one."""
    flops, tokens = 0.0, 0
    for lesson in lessons:
        batch = lesson.batch(range(run.rows))
        tokens += batch.n_tokens
        flops += batch_flops(lesson.setting.spec, batch) or _recurrent(lesson.setting.spec, batch.n_tokens)
    return flops / tokens


def _recurrent(spec: Shape, tokens: int) -> float:
    assert isinstance(spec, Recurrent), "others have their own count"
    return 3.0 * recurrent.forward_flops(spec, tokens)
