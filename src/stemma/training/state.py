"""All that a run is at one moment, and its tensors under names that do not change with the number of processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from stemma.errors import CheckpointError, Fault
from stemma.training.average import Average
from stemma.training.guards import Watch
from stemma.training.learner import Learner
from stemma.training.optimisers import learning

Size = tuple[int, ...]


@dataclass
class Progress:
    """Where a run is: everything but its tensors.

    The data's position is the number of the step, and so is the random state: both follow from the seed and it.

    Args:
        step: steps that are over.
        tokens: real ones that were read.
        seconds: of work, those of the processes before this one too.
        best: the least loss on held-out rows, in nats; None before the first evaluation.
        waiting: evaluations since then.
        watch: what the guards know.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float | None = None
    waiting: int = 0
    watch: Watch = field(default_factory=Watch)

    def waited_for(self, score: float) -> int:
        """Take note of a loss on held-out rows; how many evaluations since the least one."""
        better = self.best is None or score < self.best
        self.best = score if better else self.best
        self.waiting = 0 if better else self.waiting + 1
        return self.waiting

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file; numbers keep all their bits."""
        return asdict(self)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Progress:
        """What `as_dict` gave."""
        return cls(**{**content, "watch": Watch(**content["watch"])})


@dataclass
class State:
    """All that a run is: what a checkpoint holds.

    Args:
        learner: where it computes.
        optimisers: of its parameters.
        average: of its parameters, where one is kept.
        progress: all that is no tensor.
    """

    learner: Learner
    optimisers: Sequence[torch.optim.Optimizer]
    average: Average | None
    progress: Progress

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name; what teaches and never learns is left out, since it comes from elsewhere."""
        named = self._named()
        found = {f"weights.{name}": parameter.detach() for name, parameter in named.items()}
        names = {id(parameter): name for name, parameter in named.items()}
        for optimiser in self.optimisers:
            for parameter, values in optimiser.state.items():
                found |= {f"optimiser.{names[id(parameter)]}:{key}": value for key, value in values.items()}
        average = self.average.tensors if self.average else {}
        return found | {f"average.{name}": value for name, value in average.items()}

    def expect(self, sizes: Mapping[str, Size]) -> dict[str, Tensor]:
        """The tensors that a checkpoint is to be read into, those of the optimisers made as it has them.

        Args:
            sizes: of each of its tensors.

        Raises:
            CheckpointError: naming what one has and the other has not.
        """
        named = self._named()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                place = {"device": group["params"][0].device} if group.get("fused") else {}
                for parameter in group["params"]:
                    name = next(name for name, one in named.items() if one is parameter)
                    optimiser.state[parameter] = _blank(f"optimiser.{name}:", parameter, sizes, place)
        wanted = self.tensors()
        faults = [Fault(name, None, "is missing", "resume with the settings it began with") for name in wanted]
        faults = [fault for fault in faults if fault.field not in sizes]
        for name, size in sizes.items():
            if name not in wanted:
                faults.append(Fault(name, size, "has no place in this run", "resume with the settings it began with"))
            elif tuple(wanted[name].shape) != size:
                rule = f"has the shape {tuple(wanted[name].shape)} in this run"
                faults.append(Fault(name, size, rule, "resume with the network it began with"))
        if faults:
            raise CheckpointError("checkpoint", faults)
        return wanted

    def _named(self) -> dict[str, Tensor]:
        if self.learner.partial:
            return dict(learning(self.learner))
        own = {f"model.{name}": parameter for name, parameter in self.learner.model.named_parameters()}
        return own | dict(learning(self.learner))


def _blank(
    prefix: str, parameter: Tensor, sizes: Mapping[str, Size], place: Mapping[str, torch.device]
) -> dict[str, Tensor]:
    """An optimiser's tensors of one parameter: counts of steps, and values that are spread as the parameter is."""
    keys = {name.removeprefix(prefix): size for name, size in sizes.items() if name.startswith(prefix)}
    return {
        key: torch.zeros((), **place) if key == "step" else torch.zeros_like(parameter.detach())  # type: ignore[call-overload]
        for key in keys
    }
