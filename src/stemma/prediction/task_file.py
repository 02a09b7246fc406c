"""Which task a model has learnt: as task.json beside it says, or as its heads show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from stemma.checkpoints.labels import CHOICE, PROBLEM, label_names
from stemma.checkpoints.safety import read_json
from stemma.errors import CheckpointError, Fault, InputError
from stemma.objectives.tasks import TASKS, Choice, Classification, Extraction, Regression, Tagging, Task
from stemma.spec.lineage import Shape
from stemma.spec.tasks import AnswerHead, ClassifierHead, TaggerHead

TASK = "task.json"

_FORMAT = 1
_KEYS = ("format", "task", "length")


@dataclass(frozen=True)
class Learnt:
    """A task that a model has learnt.

    Args:
        task: with the names of its classes.
        length: the most tokens of a text; None for as many as the model has room for.
    """

    task: Task
    length: int | None = None


def task_table(learnt: Learnt) -> dict[str, Any]:
    """A task as JSON can hold it; `task_from` reads it."""
    task = learnt.task
    told = {field.name: getattr(task, field.name) for field in fields(task)}
    return {"format": _FORMAT, "task": {"name": task.name, **told}, "length": learnt.length}


def task_from(table: Mapping[str, Any], where: str) -> Learnt:
    """The task that a table tells.

    Args:
        table: what `task_table` gave.
        where: it was read, for the error.

    Raises:
        CheckpointError: naming every key and value that is at fault.
    """
    faults = [Fault(key, table[key], "is no field", "leave it out") for key in table if key not in _KEYS]
    if table.get("format") != _FORMAT:
        faults.append(Fault("format", table.get("format"), f"must be {_FORMAT}", "use the version that wrote it"))
    length = _value("length", table.get("length"), {"length": int | None}, faults)
    if length is not None and length < 1:
        faults.append(Fault("length", length, "must be at least 1", "leave it out to read all"))
    told: Any = table.get("task")
    given = told if isinstance(told, dict) else {}
    name = given.get("name")
    if not isinstance(name, str) or name not in TASKS:
        faults.append(Fault("task.name", name, "is no task", f"use one of {', '.join(TASKS)}"))
        raise CheckpointError(where, faults)
    hints = get_type_hints(TASKS[name])
    known = {field.name: hints[field.name] for field in fields(TASKS[name])}
    values = {key: _value(key, entry, known, faults) for key, entry in given.items() if key != "name"}
    if not faults:
        try:
            return Learnt(TASKS[name](**values), length)
        except InputError as error:
            faults += error.faults
    raise CheckpointError(where, faults)


def write_task(learnt: Learnt, folder: str | Path) -> None:
    """Write task.json.

    Args:
        learnt: the task.
        folder: of the model.
    """
    text = json.dumps(task_table(learnt), ensure_ascii=False, indent=2, default=_plain) + "\n"
    (Path(folder) / TASK).write_text(text, encoding="utf-8")


def read_task(folder: str | Path) -> Learnt | None:
    """The task of a folder's task.json; None where there is none.

    Args:
        folder: of the model.

    Raises:
        CheckpointError: naming every key and value that is at fault.
    """
    path = Path(folder) / TASK
    return task_from(read_json(path), str(path)) if path.is_file() else None


def task_of(spec: Shape, facts: Mapping[str, Any]) -> Task | None:
    """The task that a published model's head is for; None where it has no such head.

    Args:
        spec: its architecture.
        facts: entries of its configuration: the names of its classes, and its problem.

    Raises:
        InputError: it tells several classes of one text at once.
    """
    names, problem = label_names(facts), facts.get(PROBLEM)
    if problem == "multi_label_classification":
        rule, remedy = "tells several classes at once", "use a model that tells one"
        raise InputError("task", Fault(PROBLEM, problem, rule, remedy))
    classifier: ClassifierHead | None = spec.head(ClassifierHead)
    tagger: TaggerHead | None = spec.head(TaggerHead)
    if classifier is not None and problem == CHOICE:
        return Choice()
    if classifier is not None and (problem == "regression" or classifier.n_classes == 1):
        return Regression()
    if classifier is not None:
        return Classification(labels=names or _numbered(classifier.n_classes))
    if tagger is not None:
        return Tagging(labels=names or _numbered(tagger.n_classes))
    return None if spec.head(AnswerHead) is None else Extraction()


def _plain(value: Any) -> dict[str, Any]:
    """A part of a task as JSON can hold it."""
    return {one.name: getattr(value, one.name) for one in fields(value)} if is_dataclass(value) else dict(value)


def _value(key: str, entry: object, hints: Mapping[str, Any], faults: list[Fault]) -> Any:
    if key not in hints:
        faults.append(Fault(key, entry, "is no field", f"use {', '.join(hints)}"))
        return None
    try:
        return TypeAdapter(hints[key]).validate_json(json.dumps(entry), strict=True)
    except ValidationError as error:
        rule = " or ".join(dict.fromkeys(one["msg"].replace("Input should", "must") for one in error.errors()))
        faults.append(Fault(key, entry, rule, "correct it"))
        return None


def _numbered(n_classes: int) -> tuple[str, ...]:
    """The names that `transformers` gives."""
    return tuple(f"LABEL_{number}" for number in range(n_classes))
