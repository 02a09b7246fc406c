"""What adaptations add at single modules, and which of them are in force."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

_CHOSEN: ContextVar[tuple[str, ...] | None] = ContextVar("adaptations", default=None)
# What is chosen at present, by whomever.
_ENTERED: list[tuple[str, ...]] = []


class Change(nn.Module):
    """A module's output made another: y' = f(x, y). A subclass holds the parameters."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The output in its place.

        Args:
            x: what the module read.
            y: what it gave.
        """
        raise NotImplementedError

    def delta(self, linear: nn.Linear) -> Tensor | None:
        """What added to the map's own weight has the same effect; None where no matrix has."""
        return None


class Changes(nn.ModuleDict):
    """The changes of one module, by the names of the adaptations that they belong to, in the order of attachment."""

    def __init__(self) -> None:
        super().__init__()
        self.merged: tuple[str, ...] = ()
        """Those that lie in the map's weight at present."""
        self.own: Tensor | None = None
        """The map's weight without them, while there are any."""
        self.apart: set[str] = set()
        """Those that act only where `using` names them."""

    def in_force(self) -> list[str]:
        """The names of those that act here, in the order of attachment."""
        named = chosen()
        return [name for name in self if (name not in self.apart if named is None else name in named)]

    def forward(self, module: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """As torch calls a forward hook."""
        for name in self.in_force():
            if name not in self.merged:
                y = self[name](args[0], y)
        return y


def plug(module: nn.Module, name: str, change: Change) -> None:
    """Let a change act on a module; its parameters become the module's, below "changes" and the name.

    Args:
        module: such as a `Linear`; its own parameters and their names stay what they are.
        name: of the adaptation.
        change: what happens to its output.
    """
    held = changes_of(module)
    if held is None:
        held = Changes()
        module.add_module("changes", held)
        module.register_forward_hook(held)
    held[name] = change


def unplug(module: nn.Module, name: str) -> None:
    """Take a change away; a module without any is as it was before the first.

    Args:
        module: that a change acts on, if any does.
        name: of the adaptation.
    """
    held = changes_of(module)
    if held is None or name not in held:
        return
    del held[name]
    if not held:
        del module._modules["changes"]
        hooks = module._forward_hooks
        for key in [key for key, hook in hooks.items() if hook is held]:
            del hooks[key]


def changes_of(module: nn.Module) -> Changes | None:
    """The changes that act on a module."""
    held = module._modules.get("changes")
    return held if isinstance(held, Changes) else None


def changed(model: nn.Module, name: str) -> dict[str, nn.Module]:
    """The modules that an adaptation acts on, by their paths."""
    modules = model.named_modules()
    return {path: module for path, module in modules if (held := changes_of(module)) is not None and name in held}


def set_apart(model: nn.Module, name: str) -> None:
    """Let an adaptation act only where `using` names it: what it was put beside stays as it is to others.

    Args:
        model: that it is on.
        name: its name.
    """
    for module in changed(model, name).values():
        held = changes_of(module)
        assert held is not None, "the module carries it"
        held.apart.add(name)


def own_weight(linear: nn.Linear) -> Tensor:
    """A map's weight without what was merged into it."""
    held = changes_of(linear)
    return linear.weight if held is None or held.own is None else held.own


def fresh(like: Tensor, *shape: int, generator: torch.Generator | None = None) -> nn.Parameter:
    """A parameter to add beside a weight: of at least single precision, or small steps would be lost.

    Args:
        like: the weight.
        shape: of the parameter.
        generator: of a matrix that is drawn uniformly between -n^-1/2 and n^-1/2, n its columns; zeros without it.
    """
    values = torch.zeros(shape)
    if generator is not None:
        bound = shape[-1] ** -0.5
        values.uniform_(-bound, bound, generator=generator)
    return nn.Parameter(values.to(like.device, torch.promote_types(like.dtype, torch.float32)))


def names(model: nn.Module) -> tuple[str, ...]:
    """The adaptations that added something to a network, in the order of attachment."""
    held = (change for module in model.modules() if isinstance(module, Changes) for change in module)
    return tuple(dict.fromkeys(held))


@contextmanager
def using(*chosen: str) -> Iterator[None]:
    """While this is entered, these adaptations are in force and no others; without it all are but those set apart.

    It holds for one thread or task, so that requests on one network may each use their own. What is merged into weights
    is in force always.

    Args:
        chosen: their names; none for the network as it was.
    """
    token = _CHOSEN.set(chosen)
    _ENTERED.append(chosen)
    try:
        yield
    finally:
        _ENTERED.remove(chosen)
        _CHOSEN.reset(token)


def chosen() -> tuple[str, ...] | None:
    """The adaptations that `using` names here; None where nobody does."""
    if torch.compiler.is_compiling() and not _ENTERED:
        # A compiler cannot follow the variable, but it can see that nobody has set it; else it leaves this call alone.
        return None
    return _CHOSEN.get()
