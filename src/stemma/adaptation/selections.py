"""Adaptations that add nothing: which of the network's own parameters learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from stemma.adaptation.adaptation import Adaptation, Learning
from stemma.adaptation.places import body, levels, skeleton
from stemma.errors import Fault
from stemma.spec.lineage import Shape


@dataclass(frozen=True, kw_only=True)
class Full(Adaptation):
    """Everything learns (Devlin et al. 2019, section 3.2)."""

    kind: ClassVar[str] = "full"

    def learns(self, model: nn.Module, name: str) -> Mapping[str, Learning]:
        """All that is the network's own."""
        return dict.fromkeys(body(model), Learning())


@dataclass(frozen=True, kw_only=True)
class Frozen(Adaptation):
    """Nothing of the network learns, only heads that a task adds: it gives features (Peters et al. 2019)."""

    kind: ClassVar[str] = "frozen"


@dataclass(frozen=True, kw_only=True)
class TopLayers(Adaptation):
    """The last blocks learn, with the norm and the heads above them (Howard and Ruder 2018, section 4, "last").

    Args:
        layers: how many blocks; of a network with two stacks the decoder's come first.
        embeddings: whether what lies below all blocks learns too.
    """

    kind: ClassVar[str] = "top_layers"

    layers: int = 2
    embeddings: bool = False

    def faults(self, spec: Shape) -> list[Fault]:
        """There are so many blocks with parameters of their own."""
        most = max(levels(body(skeleton(spec))).values()) - 1
        if type(self.layers) is int and 1 <= self.layers <= most:
            return []
        rule = f"must be from 1 to the {most} blocks that have parameters of their own"
        return [Fault("layers", self.layers, rule, "use fewer, or Frozen() for none and Full() for everything")]

    def learns(self, model: nn.Module, name: str) -> Mapping[str, Learning]:
        """What lies in these blocks and above."""
        depths = levels(body(model))
        below = max(depths.values())
        return {
            path: Learning()
            for path, level in depths.items()
            if level <= self.layers or (self.embeddings and level == below)
        }


@dataclass(frozen=True, kw_only=True)
class BitFit(Adaptation):
    """The offsets of maps and norms learn, nothing else (Ben Zaken et al. 2022, section 3)."""

    kind: ClassVar[str] = "bitfit"

    def faults(self, spec: Shape) -> list[Fault]:
        """There are any."""
        if self.learns(skeleton(spec), ""):
            return []
        rule = "must be there: no map and no norm of this architecture has one"
        return [Fault("offsets", None, rule, "use another adaptation, such as LoRA()")]

    def learns(self, model: nn.Module, name: str) -> Mapping[str, Learning]:
        """Every vector that is called "bias"."""
        return {
            path: Learning()
            for path, parameter in body(model).items()
            if parameter.ndim == 1 and path.rpartition(".")[2].startswith("bias")
        }
