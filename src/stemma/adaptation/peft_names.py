"""What the modules of a network are called in the class that others keep it in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from stemma.adaptation.places import body, linears
from stemma.checkpoints.classes import NATIVE, class_of
from stemma.checkpoints.rules import Entry, make_plan
from stemma.checkpoints.stored import sizes_of
from stemma.errors import CheckpointError, Fault
from stemma.spec.lineage import Family

PREFIX = "base_model.model."
"""What PEFT sets before the name of every tensor."""

_WEIGHT = ".weight"


@dataclass(frozen=True)
class TheirMap:
    """One of their linear maps.

    Args:
        name: of their module.
        paths: of our maps, of which several are fused in theirs.
        entry: how the weights turn into one another.
    """

    name: str
    paths: tuple[str, ...]
    entry: Entry

    @property
    def transposed(self) -> bool:
        """Whether they store the weight as (in, out)."""
        return bool(getattr(self.entry.rule, "transposed", False))

    def split(self, rows: Tensor) -> Iterator[tuple[str, Tensor]]:
        """What stands at the rows of their weight, for each of our maps."""
        for name, part in self.entry.read(rows.T if self.transposed and rows.ndim == 2 else rows):
            yield name.removesuffix(_WEIGHT), part

    def fuse(self, parts: Mapping[str, Tensor]) -> Tensor:
        """What stands at the rows of our maps' weights, for theirs; the inverse of `split`."""
        whole = self.entry.write({path + _WEIGHT: part for path, part in parts.items()})
        return (whole.T if self.transposed and whole.ndim == 2 else whole).contiguous()


@dataclass(frozen=True)
class Theirs:
    """A network in their names.

    Args:
        maps: the linear maps, by their modules' names.
        entries: of all parameters, by their tensors' names.
    """

    maps: Mapping[str, TheirMap]
    entries: Mapping[str, Entry]


def theirs(model: Any, family: Family, facts: Mapping[str, Any], stored: Iterable[str] = ()) -> Theirs:
    """What they call the parts of a network.

    Args:
        model: the network.
        family: whose format tells the names.
        facts: what is known of the network besides.
        stored: tensors of a folder of theirs, that tell whether the body lies inside a class.

    Raises:
        CheckpointError: no class of theirs holds this network.
    """
    checkpoint, variant = class_of(family, model.architecture, facts)
    if checkpoint is NATIVE:
        rule = "is held by no class of theirs, which an adapter of theirs is for"
        raise CheckpointError(family.name, Fault("network", family.name, rule, "use save() and load()"))
    shapes = {path: tuple(parameter.shape) for path, parameter in body(model).items()}
    rules, there = checkpoint.weights_of(variant), linears(model)
    found = []
    for prefix in dict.fromkeys((variant.prefix, *(one.prefix for one in checkpoint.classes), "")):
        entries = make_plan(shapes, rules, sizes=sizes_of(model.architecture), prefix=prefix).entries
        found.append(Theirs(dict(_maps(entries, there)), {entry.theirs: entry for entry in entries}))
    names = {name.removeprefix(PREFIX).partition(".lora_")[0] for name in stored}
    return next((one for one in found if names & set(one.maps)), found[0])


def _maps(entries: Iterable[Entry], there: Mapping[str, nn.Linear]) -> Iterator[tuple[str, TheirMap]]:
    for entry in entries:
        paths = tuple(name.removesuffix(_WEIGHT) for name in entry.ours)
        if entry.theirs.endswith(_WEIGHT) and all(path in there for path in paths):
            name = entry.theirs.removesuffix(_WEIGHT)
            yield name, TheirMap(name, paths, entry)
