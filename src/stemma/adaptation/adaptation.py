"""What an adaptation is: what it adds to a network, and what of the network it lets learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import nn

from stemma.adaptation.places import ADDED
from stemma.errors import Fault
from stemma.spec.lineage import Shape


class Learning(NamedTuple):
    """How a parameter learns.

    Args:
        rate: its learning rate, as a factor of the run's.
        begins: the share of the run's steps after which it learns; before that it stays as it is, bit for bit.
    """

    rate: float = 1.0
    begins: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """A way to fit a pretrained network to a task: a value that works on every family, by role.

    Whatever no adaptation names stays frozen; heads that a task adds always learn. At initialisation the network's
    outputs are those that it had before.
    """

    kind: ClassVar[str]

    @property
    def n_virtual(self) -> int:
        """How many virtual tokens it puts before each text."""
        return 0

    def faults(self, spec: Shape) -> list[Fault]:
        """What this network lacks for it, or which of its values break a rule."""
        return []

    def attach(self, model: nn.Module, name: str, seed: int = 0) -> None:
        """Add parameters to a network; see `stemma.adaptation.changes`.

        Args:
            model: a `Model` or a `RecurrentModel`, changed in place.
            name: under which they are found, switched and saved.
            seed: of their first values.
        """

    def learns(self, model: nn.Module, name: str) -> Mapping[str, Learning]:
        """The parameters that learn by it, by their names in `model.named_parameters()`.

        Args:
            model: the network, to which the adaptation is attached.
            name: under which it is.
        """
        return own(model, name)


def own(model: nn.Module, name: str) -> dict[str, Learning]:
    """The parameters that an adaptation added."""
    mark = f"{ADDED}{name}."
    return {path: Learning() for path, _ in model.named_parameters() if mark in path}
