"""Objectives that share a pass of the network, and those that need one of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from stemma.data import Reading, Row
from stemma.errors import Fault, InputError
from stemma.objectives.example import Batch, Example
from stemma.objectives.objective import AUXILIARY, Objective, Setting


@dataclass(frozen=True)
class Pass:
    """What is asked of the network in one reading of a batch.

    Args:
        objectives: one; or one that arranges, and then one that corrupts.
    """

    objectives: tuple[Objective, ...]

    @property
    def name(self) -> str:
        """The objectives' names."""
        return "+".join(objective.name for objective in self.objectives)

    @property
    def reads(self) -> Reading:
        """How rows are read: as the first objective says."""
        return self.objectives[0].reads

    @property
    def copies(self) -> int | None:
        """Epochs after which the draws about a row return; None where they never do."""
        return next((one.copies for one in self.objectives if one.copies is not None), None)

    def takes(self, length: int) -> int:
        """How many tokens of the corpus make a row of which the network reads `length`; see `Objective.takes`."""
        return min(objective.takes(length) for objective in self.objectives)

    def prepare(self, row: Row, setting: Setting) -> Example:
        """What becomes of a row; the same whenever it is asked for."""
        draws = row.draws()
        example = self.objectives[0].arrange(row, setting, draws)
        for objective in self.objectives:
            example = objective.corrupt(example, setting, draws)
        return example

    def losses(self, model: Any, companions: nn.ModuleDict, batch: Batch) -> Mapping[str, Tensor]:
        """The sum over targets of each term's loss; see `Objective.losses`."""
        return self.objectives[-1].losses(model, companions, batch)

    def seen(self, companions: nn.ModuleDict, batch: Batch) -> Batch:
        """What the network itself reads and is asked; see `Objective.seen`."""
        return self.objectives[-1].seen(companions, batch)

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of each term, where it is not the last objective's own."""
        named = {term: one.weight * weight for one in self.objectives for term, weight in one.weights().items()}
        return {**AUXILIARY, **named}

    def weight(self, term: str) -> float:
        """The weight of a term of the loss."""
        return self.weights.get(term, self.objectives[-1].weight)

    def faults(self, setting: Setting) -> list[Fault]:
        """What the network or the vocabulary lacks."""
        return [fault for objective in self.objectives for fault in objective.faults(setting)]


def passes(objectives: Sequence[Objective]) -> tuple[Pass, ...]:
    """Objectives as passes: one that arranges is joined with the next that corrupts what it arranged.

    Args:
        objectives: at least one.

    Raises:
        InputError: where there is none, or where two arrange and only one corrupts.
    """
    arranging = [objective for objective in objectives if objective.arranges]
    others = [objective for objective in objectives if not objective.arranges]
    faults = []
    if not objectives:
        faults.append(Fault("objectives", [], "must not be empty", "name one, such as CausalLM()"))
    if len(arranging) > max(1, len(others)):
        names = [objective.name for objective in arranging]
        faults.append(Fault("objectives", names, "each set the texts of a row", "use one of them"))
    if faults:
        raise InputError("objectives", faults)
    joined = [Pass(pair) for pair in zip(arranging, others, strict=False)]
    alone = arranging[len(others) :] + others[len(arranging) :]
    return (*joined, *(Pass((objective,)) for objective in alone))
