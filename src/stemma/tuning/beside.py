"""Several tuning runs on the weights of one base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemma.adaptation import Quantised, detach, learning, using
from stemma.adaptation.changes import set_apart
from stemma.adaptation.saving import load
from stemma.checkpoints import Stored
from stemma.data import Record
from stemma.errors import Fault, InputError, StemmaError
from stemma.nn.new_heads import sharing
from stemma.prediction import Learnt, Tells
from stemma.text import Tokenizer
from stemma.tuning.opening import with_head
from stemma.tuning.writing import ADAPTATIONS, Told, read_told


@dataclass(frozen=True)
class Beside(Tells):
    """What a run learnt, on weights that others use too: it answers by its own adaptations and head alone.

    Args:
        name: under which its adaptations are switched.
        model: the base's body with the heads of this run.
        facts: the base's, with the names of labels.
        learnt: the task.
        base: the loaded model whose weights these are.
        in_force: the names of its adaptations.
    """

    name: str
    model: Any
    facts: Mapping[str, Any]
    learnt: Learnt
    base: Any
    in_force: tuple[str, ...]

    def _told(self, learnt: Learnt, records: Sequence[Record]) -> list[Any]:
        with using(*self.in_force):
            return super()._told(learnt, records)

    def _ready(self) -> Any:
        self.base._ready()
        return self.model

    def _reader(self) -> Tokenizer:
        reader: Tokenizer = self.base._reader()
        return reader


def put_beside(base: Any, run: Path, name: str) -> Beside:
    """What a tuning run learnt, on the weights of a model that is loaded already.

    Args:
        base: what `stemma.load` gave; its own answers stay what they were.
        run: the folder.
        name: under which the run's adaptations are switched.

    Raises:
        StemmaError: they change weights, were made for another base, or are damaged; nothing is changed then.
    """
    told = read_told(run)
    if faults := list(_changing(base.model, told)):
        raise InputError(str(run), faults)
    stored = Stored(base.family, sharing(base.model), base.facts)
    stored, _ = with_head(stored, told.learnt.task)
    names = {kept: name if len(told.kept) == 1 else f"{name}-{kept}" for kept in told.kept}
    done: list[str] = []
    try:
        for kept, switched in names.items():
            load(stored.model, run / ADAPTATIONS / kept, switched)
            done.append(switched)
            set_apart(base.model, switched)
    except StemmaError:
        for switched in done:
            detach(base.model, switched)
        raise
    stored.model.eval()
    return Beside(name, stored.model, stored.facts, told.learnt, base, tuple(names.values()))


def _changing(model: Any, told: Told) -> Iterator[Fault]:
    """Adaptations that leave the base no longer what others need."""
    for name, one in told.adaptations.items():
        if isinstance(one, Quantised) or learning(model, {name: one}):
            yield Fault(name, one.kind, "changes weights of the base", "load the folder as a model of its own")
