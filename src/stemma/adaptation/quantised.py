"""A frozen network whose maps are held as small integers, for others to adapt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from stemma.adaptation.adaptation import Adaptation, Learning
from stemma.adaptation.packed import PackedLinear, pack
from stemma.adaptation.places import maps, skeleton
from stemma.errors import Fault
from stemma.spec.lineage import Shape


@dataclass(frozen=True, kw_only=True)
class Quantised(Adaptation):
    """The linear maps in blocks as integers with scales, which rounds them; LoRA on top learns (Dettmers et al. 2023).

    It cannot be undone: what was rounded is lost. `Full` and its kin do not reach the maps any more.

    Args:
        bits: of an integer.
        group: columns of a row that share a scale.
    """

    kind: ClassVar[str] = "quantised"

    bits: Literal[4, 8] = 8
    group: int = 64

    def faults(self, spec: Shape) -> list[Fault]:
        """The values are known, and the network has maps in blocks."""
        found = []
        if self.bits not in (4, 8):
            found.append(Fault("bits", self.bits, "must be 8 or 4", "use 8"))
        if type(self.group) is not int or self.group < 2 or self.group % 2:
            found.append(Fault("group", self.group, "must be an even number of at least 2", "use 64"))
        if not maps(skeleton(spec)):
            rule = f"have no linear maps in a {spec.kind} network"
            found.append(Fault("blocks", None, rule, "leave it in floating point"))
        return found

    def attach(self, model: nn.Module, name: str, seed: int = 0) -> None:
        """Pack every map that is not."""
        for linear in maps(model).values():
            if not isinstance(linear, PackedLinear):
                pack(linear, self.bits, self.group)

    def learns(self, model: nn.Module, name: str) -> Mapping[str, Learning]:
        """Nothing."""
        return {}
