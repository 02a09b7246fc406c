"""How a tuning run goes: what is told before, the loop of every run, what is written after."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from stemma.adaptation.summary import summary
from stemma.errors import Fault, InputError
from stemma.objectives.tasks.asking import ask
from stemma.prediction import evaluate
from stemma.training import Learner, Outcome, Tracker, TrainPlan, assemble, train
from stemma.training.checkpoint import read_tensors, sizes
from stemma.training.codec import encode
from stemma.training.files import write_whole
from stemma.training.finish import MODEL, RECORD
from stemma.training.meters import peak_memory
from stemma.training.opening import CHECKPOINTS, RUN
from stemma.training.optimisers import learning
from stemma.training.run import Begun, in_turn
from stemma.training.toml import write_toml
from stemma.tuning.forgetting import old_loss
from stemma.tuning.opening import Opened, Questions, open_adapt
from stemma.tuning.precision import computing, hold_frozen
from stemma.tuning.record import Forgetting, Result
from stemma.tuning.run import MANY, Adapt
from stemma.tuning.writing import ADAPTATIONS, output_of, write_adapted


def carry_out(run: Adapt, trackers: Iterable[Tracker], *, device: str | None = None, resume: bool = False) -> Result:
    """Adapt a network as a run says; see `Adapt.train`."""
    folder = Path(run.folder)
    text = _text(run)
    _check_folder(folder, text, resume)
    with assemble(run.plan(MANY), device) as team:
        opened = in_turn(team, lambda: open_adapt(run))
        plan = run.plan(len(opened.learnt.read))
        model = opened.stored.model
        # Where processes share the network that learns, each has one of its own, too, that is tried and written.
        shared = opened.reader if team.mesh is None else deepcopy(opened.reader)
        learner = Learner(shared, opened.lessons, run.seed, opened.paces)
        if team.leads:
            sketch = summary(model, run.named, heads=opened.heads, length=run.length, batch=run.rows)
            sys.stderr.write(f"{sketch}\n")
        if team.mesh is None:
            hold_frozen(model, plan)
        with computing(plan, team.device):
            before = None if opened.old is None else old_loss(model, opened.old)
        told = [Begun(folder, text), *trackers] if team.leads else []
        outcome = train(
            learner,
            plan,
            folder=folder / CHECKPOINTS,
            trackers=told,
            team=team,
            judge=(lambda: judge(opened, learner, plan, team.device)) if "tried" in opened.tried else None,
        )
        _restore(opened.reader, outcome)
        forgetting = None
        with computing(plan, team.device):
            scores = {name: try_on(opened, questions) for name, questions in opened.tried.items()}
            if opened.old is not None and before is not None:
                forgetting = Forgetting(opened.old.asks.name, before, old_loss(model, opened.old))
        result = _result(run, opened, outcome, scores, forgetting, peak_memory(team.device))
        if team.leads and outcome.ended != "interrupted":
            write_adapted(run, opened, folder)
            write_whole(folder / RECORD, json.dumps(result.as_dict(), indent=2) + "\n")
    return result


def try_on(opened: Opened, questions: Questions) -> Mapping[str, float]:
    """How good the network's answers are.

    Args:
        opened: the network and its task.
        questions: records, and what is asked about them.
    """
    task, records, asked = opened.task, questions.records, questions.examples
    if opened.reader is opened.stored.model:
        return evaluate(opened.reader, opened.scribe, task, records, asked=asked)
    said = iter(ask(opened.reader, task, questions.read, packed=opened.scribe.length))
    scores = [[next(said) for _ in several] for several in asked]
    return task.measure(records, [task.told(*one) for one in zip(records, asked, scores, strict=True)])


def judge(opened: Opened, learner: Learner, plan: TrainPlan, device: torch.device) -> tuple[Mapping[str, float], float]:
    """The figures of a trial, and the score by which checkpoints are compared: the less, the better."""
    if learner.model is not opened.reader:
        _bring_home(learner, opened.reader)
    with computing(plan, device):
        figures = try_on(opened, opened.tried["tried"])
    return figures, -figures[opened.task.measures]


def _check_folder(folder: Path, text: str, resume: bool) -> None:
    path = folder / RUN
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    held = [name for name in (CHECKPOINTS, MODEL, ADAPTATIONS) if any((folder / name).glob("*"))]
    if before is None and held:
        rule = f"holds {' and '.join(held)} of something else than a run"
        raise InputError("adapt", Fault("folder", str(folder), rule, "choose another"))
    if before not in (None, text) and not resume:
        rule = "holds another run, or this one with other settings"
        remedy = f"choose another, or go on with it: stemma adapt --resume {folder}"
        raise InputError("adapt", Fault("folder", str(folder), rule, remedy))


def _text(run: Adapt) -> str:
    """The run as a file."""
    table = encode(run)
    del table["kind"]
    return write_toml(table)


@torch.no_grad()
def _bring_home(learner: Learner, reader: nn.Module) -> None:
    """Give a network what processes have learnt together."""
    own = dict(reader.named_parameters())
    for name, parameter in learning(learner.model).items():
        own[name].copy_(parameter.full_tensor() if isinstance(parameter, DTensor) else parameter)


def _restore(reader: nn.Module, outcome: Outcome) -> None:
    """Give a network what the best checkpoint holds, or the newest where none was tried."""
    checkpoint = outcome.best or outcome.newest
    assert checkpoint is not None, "the last step is saved"
    held, into = sizes(checkpoint), dict[str, torch.Tensor]()
    for name, parameter in learning(reader).items():
        average = f"average.model.{name}"
        into[average if average in held else f"weights.model.{name}"] = parameter.detach()
    read_tensors(checkpoint, into)


def _result(
    run: Adapt,
    opened: Opened,
    outcome: Outcome,
    scores: Mapping[str, Mapping[str, float]],
    forgetting: Forgetting | None,
    memory: int,
) -> Result:
    model, progress = opened.stored.model, outcome.progress
    return Result(
        folder=str(run.folder),
        model=run.model,
        task=opened.task.name,
        adaptations=tuple(one.kind for one in run.adaptations),
        seed=run.seed,
        ended=outcome.ended,
        steps=progress.step,
        tokens=progress.tokens,
        seconds=progress.seconds,
        trained=sum(one.numel() for one in model.parameters() if one.requires_grad),
        total=sum(one.numel() for one in model.parameters()),
        scores=scores,
        forgetting=forgetting,
        memory=memory,
        output=str(output_of(opened, Path(run.folder))),
    )
