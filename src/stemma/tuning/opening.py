"""Everything that a tuning run needs before its first step: network, heads, adaptations, examples, old text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from stemma.adaptation import Learning, attach
from stemma.adaptation.virtual import virtual_ids
from stemma.checkpoints import Stored
from stemma.checkpoints.labels import CHOICE, labelled
from stemma.data import Labelled, Record, check_labels, raise_faults, read
from stemma.errors import Fault, InputError
from stemma.families.task_heads import task_heads
from stemma.nn.new_heads import put_heads
from stemma.objectives import Example, Pass, Setting
from stemma.objectives.tasks import Choice, Regression, Scribe, Task
from stemma.spec.architecture import Architecture
from stemma.spec.pooling import Pooling
from stemma.text import Tokenizer
from stemma.training import Lesson
from stemma.training.corpora import open_parts, sources
from stemma.training.folders import begin_network
from stemma.training.opening import CORPORA, vocabulary_of
from stemma.training.vocabularies import open_tokenizer
from stemma.tuning.features import FOLDER, FeatureNetwork, extracts, kept_features
from stemma.tuning.forgetting import old_lesson, pretraining
from stemma.tuning.rows import Shuffled
from stemma.tuning.run import Adapt

_MULTIPLE = 8
_PROBLEMS = {Choice.name: CHOICE, Regression.name: "regression"}


@dataclass(frozen=True)
class Questions:
    """Records, and what a network is asked about them.

    Args:
        records: themselves.
        examples: of each record, one or several.
        read: all of them in their order, as they are read: their tokens, or features of these.
    """

    records: Sequence[Record]
    examples: Sequence[Sequence[Example]]
    read: Sequence[Example]


@dataclass(frozen=True)
class Opened:
    """A tuning run that is ready to begin.

    Args:
        stored: the network with its heads and adaptations.
        reader: what learns: the network, or its heads on features that were kept.
        tokenizer: its vocabulary.
        scribe: writes texts down for it.
        task: with the names of its classes.
        heads: the names of those that are new.
        paces: what learns, and how.
        learnt: what it learns from.
        tried: what it is tried on, by the name of the part.
        lessons: the task, and old text where it is replayed.
        old: old text, where forgetting is measured.
    """

    stored: Stored
    reader: nn.Module
    tokenizer: Tokenizer
    scribe: Scribe
    task: Task
    heads: tuple[str, ...]
    paces: Mapping[str, Learning]
    learnt: Questions
    tried: Mapping[str, Questions]
    lessons: Sequence[Lesson]
    old: Lesson | None


def open_adapt(run: Adapt) -> Opened:
    """Make or find whatever a tuning run needs.

    Args:
        run: itself.

    Raises:
        StemmaError: naming what is at fault in the run or in its data; nothing has been written then.
    """
    tokenizer = open_tokenizer(run.model)
    records = {name: read(source, run.task.roles()) for name, source in _sources(run).items()}
    task = run.task.named(records["learnt"])
    if task.labelled is not None:
        unseen = (fault for name in records for fault in check_labels(records[name], task.labelled, task.labels))
        raise_faults(list(unseen))
    stored = begin_network(run.model, len(tokenizer), run.seed)
    task = _pooled(task, stored)
    stored, heads = with_head(stored, task, run.seed)
    vocabulary = vocabulary_of(stored, tokenizer)
    setting = Setting(vocabulary, run.length, stored.architecture)
    if faults := [*_misfits(run, stored), *task.faults(setting)]:
        raise InputError("adapt", faults)
    paces = attach(stored.model, run.named, seed=run.seed, heads=heads)
    before = virtual_ids(stored.model, run.named)
    virtual, begun = before.get("tokens", ()), before.get("decoder_tokens", ())
    scribe = Scribe(tokenizer, vocabulary, stored.architecture, run.length, virtual, begun)
    reader, read_by = _reader(run, stored, task, setting)
    learnt = _asked(records["learnt"], scribe.finish(task.examples(records.pop("learnt"), scribe)), read_by)
    tried = {name: _asked(held, scribe.finish(task.questions(held, scribe)), read_by) for name, held in records.items()}
    packed = run.length if scribe.packs else None
    lesson = Lesson(Pass((task,)), Shuffled(learnt.read, run.seed).row, setting, multiple=_MULTIPLE, packed=packed)
    old, replayed = _old(run, tokenizer, setting, stored.pooling)
    return Opened(stored, reader, tokenizer, scribe, task, heads, paces, learnt, tried, [lesson, *replayed], old)


def with_head(stored: Stored, task: Task, seed: int = 0) -> tuple[Stored, tuple[str, ...]]:
    """A network with the head of a task, its labels among its facts, and the names of the new heads.

    Args:
        stored: the network, changed in place.
        task: with the names of its classes.
        seed: of the first values.
    """
    if task.head is None:
        return stored, ()
    heads = task_heads(stored.family, stored.architecture, task.head, task.n_classes)
    new = put_heads(stored.model, heads, seed)
    facts = labelled(stored.facts, task.labels, _PROBLEMS.get(task.name, ""))
    return replace(stored, facts=facts), tuple(new)


def _reader(
    run: Adapt, stored: Stored, task: Task, setting: Setting
) -> tuple[nn.Module, Callable[[list[Example]], Sequence[Example]]]:
    """What learns, and how it reads examples."""
    kept = extracts(run.adaptations) and not run.replay and isinstance(stored.architecture, Architecture)
    if not kept or task.head is None:
        return stored.model, lambda examples: examples
    folder, pad = Path(run.cache or run.folder) / FOLDER, setting.vocabulary.roles.pad or 0
    return FeatureNetwork(stored.model), lambda examples: kept_features(stored.model, task, examples, folder, pad)


def _asked(
    records: Sequence[Record],
    examples: list[list[Example]],
    read_by: Callable[[list[Example]], Sequence[Example]],
) -> Questions:
    return Questions(records, examples, read_by([example for several in examples for example in several]))


def _sources(run: Adapt) -> dict[str, Labelled]:
    named = {"learnt": run.learnt, "tried": run.tried, "tested": run.tested}
    return {name: source for name, source in named.items() if source is not None}


def _pooled(task: Task, stored: Stored) -> Task:
    """The task with the network's own way to make one vector of a text, where it needs one and has none."""
    if "pooling" not in {one.name for one in fields(task)} or getattr(task, "pooling") is not None:  # noqa: B009
        return task
    chosen: Any = {"pooling": stored.pooling or Pooling()}
    return replace(task, **chosen)


def _misfits(run: Adapt, stored: Stored) -> list[Fault]:
    spec = stored.architecture
    longest = spec.max_tokens if isinstance(spec, Architecture) else None
    if longest is None or run.length <= longest:
        return []
    return [Fault("length", run.length, f"exceeds the network's {longest} positions", f"use {longest} or fewer")]


def _old(
    run: Adapt, tokenizer: Tokenizer, setting: Setting, pooling: Pooling | None
) -> tuple[Lesson | None, list[Lesson]]:
    """Old text to be tried on, and to be replayed where that is asked for."""
    objective = pretraining(setting, pooling)
    if run.old is None or objective is None:
        if run.replay:
            rule = "cannot be replayed: no head of the network tells words"
            raise InputError("adapt", Fault("replay", run.replay, rule, "use 0"))
        return None, []
    folder = Path(run.cache or Path(run.folder) / CORPORA)
    (part,) = open_parts(sources(run.old), tokenizer, folder, 0.2, 0)
    rest = [part.held_out or part.learnt]
    replayed = [old_lesson(objective, [part.learnt], setting, run.seed, rows=run.rows, share=run.replay)]
    return old_lesson(objective, rest, setting, 0), replayed if run.replay else []
