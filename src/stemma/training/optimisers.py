"""What turns gradients into steps: values, and torch's own optimisers made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stemma.errors import Fault, InputError
from stemma.nn.blocks import Block
from stemma.training.learner import Learner


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2); vectors do not decay.

    Args:
        lr: the highest learning rate.
        betas: of the running means of gradients and of their squares.
        eps: added to the root of the latter.
        weight_decay: of matrices and tables.
        fused: one kernel for all parameters.
    """

    lr: float = 6e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    fused: bool = True

    def build(self, learner: nn.Module) -> list[torch.optim.Optimizer]:
        """Torch's optimisers of everything that learns."""
        return self.of(learner, learning(learner))

    def of(self, learner: nn.Module, parameters: Mapping[str, Tensor]) -> list[torch.optim.Optimizer]:
        """The same of some parameters, by their names."""
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, one in parameters.items():
            decay = self.weight_decay if one.ndim >= 2 else 0.0
            groups.setdefault((rate_of(learner, name), decay), []).append(one)
        # The highest rates first: a report tells that of the first group.
        held = [
            {"params": groups[rate, decay], "lr": self.lr * rate, "weight_decay": decay}
            for rate, decay in sorted(groups, reverse=True)
        ]
        options: dict[str, Any] = dict(lr=self.lr, betas=self.betas, eps=self.eps, fused=self.fused)
        return [torch.optim.AdamW(held, **options)] if held else []


@dataclass(frozen=True, kw_only=True)
class Muon:
    """Momentum made orthogonal, for the matrices inside blocks (Jordan et al. 2024); AdamW for all that is left.

    The steps are scaled to be as large as AdamW's, so that its learning rates serve (Liu et al. 2025, section 2.2).

    Args:
        lr: the highest learning rate of the matrices.
        momentum: of the running mean of gradients.
        weight_decay: of the matrices.
        rounds: of the Newton-Schulz iteration.
        rest: for tables, heads and vectors.
    """

    lr: float = 6e-4
    momentum: float = 0.95
    weight_decay: float = 0.1
    rounds: int = 5
    rest: AdamW = AdamW()

    def build(self, learner: nn.Module) -> list[torch.optim.Optimizer]:
        """Torch's optimisers of everything that learns.

        Raises:
            InputError: where the network has no blocks.
        """
        every = learning(learner)
        hidden = {id(weight) for weight in _hidden(learner)}
        matrices = [one for one in every.values() if id(one) in hidden]
        if not matrices:
            rule = "is for the matrices of a transformer's blocks, and there are none"
            raise InputError("plan", Fault("optimiser", "Muon", rule, "use AdamW"))
        if {rate_of(learner, name) for name in every} != {1.0}:
            rule = "moves all matrices at one rate, and they have several"
            raise InputError("plan", Fault("optimiser", "Muon", rule, "use AdamW"))
        muon = torch.optim.Muon(
            matrices,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            ns_steps=self.rounds,
            adjust_lr_fn="match_rms_adamw",
        )
        rest = {name: one for name, one in every.items() if id(one) not in hidden}
        return [muon, *self.rest.of(learner, rest)]


Optimiser = AdamW | Muon


def learning(learner: nn.Module) -> Mapping[str, Tensor]:
    """The parameters that learn, each once, by their names."""
    return {name: parameter for name, parameter in learner.named_parameters() if parameter.requires_grad}


def rate_of(learner: nn.Module, name: str) -> float:
    """A parameter's learning rate, as a factor of the optimiser's."""
    return learner.pace(name).rate if isinstance(learner, Learner) else 1.0


def set_rate(optimisers: Iterable[torch.optim.Optimizer], factor: float) -> float:
    """Let all learn at this share of their highest rates; the rate of the first is returned."""
    rates = []
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = factor * group.setdefault("highest", group["lr"])
            rates.append(group["lr"])
    return float(rates[0])


def _hidden(learner: nn.Module) -> list[Tensor]:
    blocks = (module for module in learner.modules() if isinstance(module, Block))
    linears = (part for block in blocks for part in block.modules() if isinstance(part, nn.Linear))
    return [linear.weight for linear in linears]
