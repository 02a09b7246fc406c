"""Changes of linear maps, put into their weights and taken out again."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stemma.adaptation.changes import Change, Changes, changed, changes_of, names, own_weight, unplug
from stemma.adaptation.packed import PackedLinear
from stemma.errors import Fault, InputError


def merge(model: nn.Module, name: str) -> None:
    """Put an adaptation into the weights that it changes, so that it costs nothing to run.

    The weights as they were are kept beside them for `unmerge`; `fold` keeps none.

    Args:
        model: changed in place.
        name: of the adaptation; without effect where it is merged already.

    Raises:
        InputError: there is none of this name, or no matrix has its effect.
    """
    for linear, held in _mergeable(model, name):
        _settle(linear, held, dict.fromkeys((*held.merged, name)))


def unmerge(model: nn.Module, name: str) -> None:
    """Take an adaptation out of the weights again: without others there, they are bit for bit what they were.

    Args:
        model: changed in place.
        name: of the adaptation; without effect where it is not merged.

    Raises:
        InputError: there is none of this name.
    """
    for module in _acted_on(model, name).values():
        held = changes_of(module)
        if held is not None and name in held.merged:
            assert isinstance(module, nn.Linear), "only maps are merged"
            _settle(module, held, [one for one in held.merged if one != name])


def fold(model: nn.Module, name: str) -> None:
    """Put an adaptation into the weights for good; the network is then one without it.

    Args:
        model: changed in place.
        name: of the adaptation.

    Raises:
        InputError: as for `merge`.
    """
    places = _mergeable(model, name)
    unmerge(model, name)
    for linear, held in places:
        weight = _with(linear, held, [name])
        if held.own is None:
            _write(linear, weight)
        else:
            held.own = weight
            _settle(linear, held, held.merged)
        unplug(linear, name)


def _acted_on(model: nn.Module, name: str) -> dict[str, nn.Module]:
    if not (places := changed(model, name)):
        there = ", ".join(names(model))
        remedy = f"use {there}" if there else "attach one first; what only lets weights learn adds nothing"
        raise InputError("adaptation", Fault("name", name, "is nothing that was added to this network", remedy))
    return places


def _mergeable(model: nn.Module, name: str) -> list[tuple[nn.Linear, Changes]]:
    """The maps that an adaptation changes, and all their changes."""
    found, faults = [], []
    for path, module in _acted_on(model, name).items():
        held = changes_of(module)
        assert held is not None, "it acts there"
        if isinstance(module, PackedLinear):
            rule, remedy = "is held as packed integers", "load the network anew in floating point and merge there"
            faults.append(Fault(path, name, rule, remedy))
        elif not isinstance(module, nn.Linear) or _delta(module, held, name) is None:
            rule = "cannot be merged: no matrix has the effect of what is added here"
            faults.append(Fault(path, name, rule, "keep it attached, and save it beside the network"))
        else:
            found.append((module, held))
    if faults:
        raise InputError("merge", faults)
    return found


def _settle(linear: nn.Linear, held: Changes, merged: Iterable[str]) -> None:
    """Let these, and no others, lie in the weight."""
    if held.own is None:
        held.own = linear.weight.detach().clone()
    held.merged = tuple(merged)
    _write(linear, _with(linear, held, held.merged))
    if not held.merged:
        held.own = None


@torch.no_grad()
def _with(linear: nn.Linear, held: Changes, merged: Iterable[str]) -> Tensor:
    """A map's own weight with these in it."""
    own = own_weight(linear)
    total = own.to(torch.promote_types(own.dtype, torch.float32))
    for name in merged:
        delta = _delta(linear, held, name)
        assert delta is not None, "checked before"
        total = total + delta
    return total.to(own.dtype)


@torch.no_grad()
def _write(linear: nn.Linear, weight: Tensor) -> None:
    linear.weight.copy_(weight)


@torch.no_grad()
def _delta(linear: nn.Linear, held: Changes, name: str) -> Tensor | None:
    change = held[name]
    assert isinstance(change, Change), "only changes are plugged"
    return change.delta(linear)
