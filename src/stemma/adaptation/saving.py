"""An adaptation alone in a folder: what it added or changed, and which network it belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.attaching import headless, learning, misnamed, unfit
from stemma.adaptation.base import describe, differing
from stemma.adaptation.places import ADDED
from stemma.adaptation.told import Saved, tell, understand
from stemma.checkpoints.atomic import new_folder
from stemma.checkpoints.rules import Info
from stemma.checkpoints.safety import read_json, read_safetensors_header
from stemma.errors import CheckpointError, Fault, InputError
from stemma.nn import build

_TOLD, _TENSORS = "adaptation.json", "adaptation.safetensors"
_AGAIN = "save the adaptation again"


def save(
    model: Any,
    name: str,
    adaptation: Adaptation,
    folder: str | Path,
    *,
    heads: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write what learned by an adaptation, and nothing else of the network.

    Args:
        model: the network.
        name: under which the adaptation is on it.
        adaptation: the value.
        folder: appears once all of it is on the disk.
        heads: of the task, to be written too.
        facts: to be told, such as the names of labels; what JSON can hold.

    Raises:
        InputError: nothing on this network learned by it.
        CheckpointError: the folder stands already, or cannot be written.
    """
    parameters = dict(model.named_parameters())
    learned = learning(model, {name: adaptation}, heads)
    if not learned:
        remedy = "attach it first, or name the heads of the task"
        raise InputError("save", Fault("name", name, "has no parameters on this network", remedy))
    told = tell(Saved(adaptation, heads, facts or {}, describe(model, learned)))
    tensors = {_unnamed(path, name): parameters[path].detach().cpu().contiguous() for path in learned}
    with new_folder(Path(folder)) as partial:
        save_file(tensors, partial / _TENSORS)
        (partial / _TOLD).write_text(json.dumps(told, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def load(model: Any, folder: str | Path, name: str) -> Saved:
    """Put a saved adaptation on a network.

    Args:
        model: the network that it was made for, in any precision; the heads of the task stand already.
        folder: from `save`.
        name: under which it is switched from now on.

    Raises:
        InputError: the name cannot be given.
        CheckpointError: naming everything that does not fit; the network is then as it was.
    """
    if named := misnamed(model, [name]):
        raise InputError("adapt", named)
    folder = Path(folder)
    path, told = folder / _TENSORS, read_json(folder / _TOLD)
    if not path.is_file():
        raise CheckpointError(str(folder), Fault("file", _TENSORS, "is missing", _AGAIN))
    infos, faults = read_safetensors_header(path), list[Fault]()
    saved = understand(told, faults)
    places: dict[str, str] = {}
    if saved is not None and not faults:
        faults += [*unfit(model, {name: saved.adaptation}), *headless(model, saved.heads)]
        if not faults:
            sketch = _sketch(model, saved.adaptation, name)
            learned = learning(sketch, {name: saved.adaptation}, saved.heads)
            places = {_unnamed(path, name): path for path in learned}
            faults += _unlike(infos, places, sketch, model)
        faults += differing(describe(model, set(places.values())), saved.base)
    if faults or saved is None:
        raise CheckpointError(str(folder), faults)
    saved.adaptation.attach(model, name)
    parameters = dict(model.named_parameters())
    with torch.no_grad(), safe_open(path, framework="pt") as held:
        for stored, ours in places.items():
            parameters[ours].copy_(held.get_tensor(stored))
    return saved


def _sketch(model: Any, adaptation: Adaptation, name: str) -> nn.Module:
    """The network with the adaptation, without its numbers."""
    sketch: nn.Module = build(model.architecture, seed=None, device="meta")
    adaptation.attach(sketch, name)
    return sketch


def _unlike(
    infos: Mapping[str, Info], places: Mapping[str, str], sketch: nn.Module, model: nn.Module
) -> Iterator[Fault]:
    """Where the file's tensors are not those that learn."""
    shapes = {path: tuple(parameter.shape) for path, parameter in sketch.named_parameters()}
    there = dict(model.named_parameters())
    for stored, ours in places.items():
        if stored not in infos:
            yield Fault(stored, None, "is missing", f"it is needed with shape {list(shapes[ours])}; {_AGAIN}")
        elif infos[stored].shape != shapes[ours]:
            yield Fault(stored, list(infos[stored].shape), f"must have shape {list(shapes[ours])}", _AGAIN)
        if ADDED not in ours and ours not in there:
            yield Fault(ours, None, "is no parameter of this network", "load the network in floating point")
    for stored, info in infos.items():
        if stored not in places:
            yield Fault(stored, list(info.shape), "has no place in this adaptation", _AGAIN)


def _unnamed(path: str, name: str) -> str:
    """A parameter's name without the adaptation's, which may be another the next time."""
    return path.replace(f"{ADDED}{name}.", ADDED)
