"""Gradual unfreezing with discriminative learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from torch import nn

from stemma.adaptation.adaptation import Adaptation, Learning
from stemma.adaptation.places import body, levels
from stemma.errors import Fault
from stemma.spec.lineage import Shape


@dataclass(frozen=True, kw_only=True)
class GradualUnfreezing(Adaptation):
    """Blocks thaw from the last one down, each learning more slowly than the one above (Howard and Ruder 2018).

    Sections 3.2 and 3.3. A parameter l blocks below the heads begins after the share `until` l / n of the run, n that
    of the embeddings, and learns at the rate decay^-l.

    Args:
        decay: how many times slower a block learns than the one above; 1 for the same rate everywhere.
        until: the share of the run after which everything learns; 0 for all from the beginning.
    """

    kind: ClassVar[str] = "gradual_unfreezing"

    decay: float = 2.6
    until: float = 0.5

    def faults(self, spec: Shape) -> list[Fault]:
        """Rates fall, and the run sees everything learn."""
        found = []
        if not (isfinite(self.decay) and self.decay >= 1):
            found.append(Fault("decay", self.decay, "must be a number of at least 1", "use 2.6, as the authors do"))
        if not 0 <= self.until <= 1:
            found.append(Fault("until", self.until, "must be a share of the run, from 0 to 1", "use 0.5"))
        return found

    def learns(self, model: nn.Module, name: str) -> Mapping[str, Learning]:
        """All that is the network's own, each part in its time."""
        depths = levels(body(model))
        lowest = max(depths.values())
        return {path: Learning(self.decay**-level, self.until * level / lowest) for path, level in depths.items()}
