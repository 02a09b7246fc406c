"""Adaptations on a network: put on, taken off, and what learns by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from stemma.adaptation.adaptation import Adaptation, Learning
from stemma.adaptation.changes import Changes, changed, names, unplug
from stemma.adaptation.merging import unmerge
from stemma.errors import Fault, InputError


def attach(
    model: Any, adaptations: Mapping[str, Adaptation], *, seed: int = 0, heads: Sequence[str] = ()
) -> dict[str, Learning]:
    """Put adaptations on a network; what then learns, by the names of its parameters.

    Only what learns asks for gradients from then on.

    Args:
        model: a `Model` or a `RecurrentModel`, changed in place.
        adaptations: each under the name by which it is switched and saved.
        seed: of their first values.
        heads: of a task, which learn whatever the adaptations are.

    Raises:
        InputError: naming all that is at fault; the network is then as it was.
    """
    if faults := [*misnamed(model, adaptations), *unfit(model, adaptations), *headless(model, heads)]:
        raise InputError("adapt", faults)
    for name, adaptation in adaptations.items():
        adaptation.attach(model, name, seed)
    return let_learn(model, adaptations, heads=heads)


def let_learn(
    model: nn.Module, adaptations: Mapping[str, Adaptation], *, heads: Sequence[str] = ()
) -> dict[str, Learning]:
    """Let what learns by adaptations that a network has ask for gradients, and nothing else; `attach` does.

    Args:
        model: changed in place.
        adaptations: by their names.
        heads: of a task.
    """
    learned = learning(model, adaptations, heads)
    for path, parameter in model.named_parameters():
        parameter.requires_grad_(path in learned)
    return learned


def learning(model: nn.Module, adaptations: Mapping[str, Adaptation], heads: Sequence[str] = ()) -> dict[str, Learning]:
    """What learns by adaptations that a network has, by the names of its parameters.

    Args:
        model: the network.
        adaptations: by their names; of several that name a parameter the last says how it learns.
        heads: of a task.
    """
    learned = {path: how for name, one in adaptations.items() for path, how in one.learns(model, name).items()}
    return learned | {path: Learning() for path in of_heads(model, heads)}


def of_heads(model: nn.Module, heads: Sequence[str]) -> list[str]:
    """The names of these heads' parameters."""
    marks = tuple(f"heads.{head}." for head in heads)
    return [path for path, _ in model.named_parameters() if path.startswith(marks)]


def detach(model: nn.Module, name: str) -> None:
    """Take what an adaptation added off a network; what is merged into weights is taken out of them first.

    Args:
        model: changed in place.
        name: of the adaptation.

    Raises:
        InputError: the network has no such addition.
    """
    unmerge(model, name)
    for module in changed(model, name).values():
        unplug(module, name)


def misnamed(model: nn.Module, wanted: Iterable[str]) -> list[Fault]:
    """Names that no further adaptation of this network can have."""
    there, reserved = names(model), Changes()
    broken = {
        "must be a name without dots": [name for name in wanted if not name or "." in name],
        "is on this network already": [name for name in wanted if name in there],
        "is taken by the library": [name for name in wanted if hasattr(reserved, name)],
    }
    return [Fault("name", name, rule, "choose another name") for rule, given in broken.items() for name in given]


def unfit(model: Any, adaptations: Mapping[str, Adaptation]) -> list[Fault]:
    """What keeps adaptations from this network."""
    return [
        Fault(f"{name}.{fault.field}", fault.value, fault.rule, fault.remedy)
        for name, adaptation in adaptations.items()
        for fault in adaptation.faults(model.architecture)
    ]


def headless(model: nn.Module, heads: Sequence[str]) -> list[Fault]:
    """Heads that this network has not."""
    held = getattr(model, "heads", {})
    there = ", ".join(held) or "none: it has no head"
    return [Fault("heads", head, "is no head of this network", f"use {there}") for head in heads if head not in held]
