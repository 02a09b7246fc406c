"""What a tuning run leaves behind, and how it is found again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from stemma.adaptation import Adaptation, attach, fold, learning, names
from stemma.adaptation.places import body
from stemma.adaptation.saving import load, save
from stemma.checkpoints import Stored
from stemma.checkpoints.safety import read_json
from stemma.errors import CheckpointError, Fault
from stemma.prediction import Learnt, task_from, task_table, write_task
from stemma.text import Tokenizer
from stemma.training.codec import decode, encode
from stemma.training.files import write_whole
from stemma.training.finish import MODEL
from stemma.training.folders import begin_network, published, write_model
from stemma.training.vocabularies import open_tokenizer
from stemma.tuning.opening import Opened, with_head
from stemma.tuning.run import Adapt

ADAPTED, ADAPTATIONS = "adapted.json", "adaptations"
"""What tells how a folder's network is made of another, and what was learnt for it."""

_FORMAT = 1
_KEYS = ("model", "learnt", "adaptations", "kept")


def output_of(opened: Opened, folder: Path) -> Path:
    """The folder to load in the end: that of a model where all of it learns, else the run's own."""
    return folder / MODEL if set(body(opened.stored.model)) <= set(opened.paces) else folder


def write_adapted(run: Adapt, opened: Opened, folder: Path) -> None:
    """Write what was learnt: a whole model where all of it learned, else what was added or changed alone.

    Args:
        run: itself.
        opened: the network as it is now.
        folder: of the run.
    """
    model, named = opened.stored.model, run.named
    learnt = Learnt(opened.task, run.length)
    if (output := output_of(opened, folder)) != folder:
        _write_whole(opened.stored, opened.tokenizer, output, learnt)
        return
    # What says how the parts belong together goes first and comes last: it never tells of parts that are not there.
    (folder / ADAPTED).unlink(missing_ok=True)
    shutil.rmtree(folder / ADAPTATIONS, ignore_errors=True)
    # With the heads, which no adaptation adds, goes the first of those that learnt, or of all.
    first = next((name for name, one in named.items() if learning(model, {name: one})), next(iter(named)))
    heads = {name: opened.heads if name == first else () for name in named}
    kept = [name for name, one in named.items() if learning(model, {name: one}, heads[name])]
    for name in kept:
        save(model, name, named[name], folder / ADAPTATIONS / name, heads=heads[name])
    values = {name: encode(one) for name, one in named.items()}
    content = {"format": _FORMAT, "model": run.model, "learnt": task_table(learnt)}
    content |= {"adaptations": values, "kept": kept}
    write_whole(folder / ADAPTED, json.dumps(content, indent=2, default=asdict) + "\n")


def _write_whole(stored: Stored, tokenizer: Tokenizer, folder: Path, learnt: Learnt) -> None:
    spec = published(stored.family, stored.architecture)
    kept = {head.name for head in spec.heads}
    for name in [name for name in stored.model.heads if name not in kept]:
        del stored.model.heads[name]
    model: Any = stored.model
    model.architecture = spec

    def beside(partial: Path) -> None:
        tokenizer.save(partial)
        write_task(learnt, partial)

    write_model(stored, folder, beside)


class Told(NamedTuple):
    """What a folder tells of what was learnt alone.

    Args:
        model: the base's name or folder.
        learnt: the task.
        adaptations: by their names.
        kept: those whose parameters lie in the folder.
    """

    model: str
    learnt: Learnt
    adaptations: Mapping[str, Adaptation]
    kept: Collection[str]


def read_told(folder: Path) -> Told:
    """What a folder tells.

    Args:
        folder: of a tuning run.

    Raises:
        CheckpointError: naming every entry that is at fault.
    """
    content = read_json(folder / ADAPTED)
    faults: list[Fault] = []
    if content.get("format") != _FORMAT:
        faults.append(Fault("format", content.get("format"), f"must be {_FORMAT}", "use the version that wrote it"))
    faults += [Fault(key, None, "is missing", "adapt the model again") for key in _KEYS if key not in content]
    if faults:
        raise CheckpointError(str(folder / ADAPTED), faults)
    learnt = task_from(content["learnt"], str(folder / ADAPTED))
    given: dict[str, Any] = content["adaptations"]
    named = {name: decode(Adaptation, one, f"adaptations.{name}", faults) for name, one in given.items()}
    if faults:
        raise CheckpointError(str(folder / ADAPTED), faults)
    return Told(str(content["model"]), learnt, named, content["kept"])


class Adapted(NamedTuple):
    """A base with what was learnt for it.

    Args:
        model: the base's name or folder.
        stored: the network.
        learnt: the task.
    """

    model: str
    stored: Stored
    learnt: Learnt


def read_adapted(folder: Path) -> Adapted:
    """The network of a folder that holds what was learnt alone, on a fresh copy of its base.

    Args:
        folder: of a tuning run.

    Raises:
        StemmaError: the base is not there or is another, or the folder is damaged.
    """
    told = read_told(folder)
    stored, _ = with_head(begin_network(told.model, 0, 0), told.learnt.task)
    for name, one in told.adaptations.items():
        if name in told.kept:
            load(stored.model, folder / ADAPTATIONS / name, name)
        else:
            attach(stored.model, {name: one})
    return Adapted(told.model, replace(stored, model=stored.model.eval()), told.learnt)


def merge_adapted(run: Path, out: Path) -> list[str]:
    """Write a base and what was learnt for it as one model.

    Args:
        run: the folder of a tuning run.
        out: the folder to write.

    Returns:
        The names of what was merged into weights.

    Raises:
        StemmaError: something of it is no change of weights, such as adapters or a soft prompt.
    """
    model, stored, learnt = read_adapted(run)
    merged = list(names(stored.model))
    for name in merged:
        fold(stored.model, name)
    _write_whole(stored, open_tokenizer(model), out, learnt)
    return merged
