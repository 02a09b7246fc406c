"""Low-rank changes of linear maps: LoRA, rank-stabilised LoRA and DoRA."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite, sqrt
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.changes import Change, fresh, own_weight, plug
from stemma.adaptation.places import ends, names_of_roles, roles, skeleton
from stemma.errors import Fault
from stemma.spec.lineage import Shape

Number = TypeVar("Number", int, float)

Scaling = Literal["standard", "rank_stabilised"]


class LowRank(Change):
    """y + s B A x, A drawn and B zero at first (Hu et al. 2021, section 4.1).

    Args:
        linear: the map.
        rank: rows of A and columns of B.
        scale: s.
        dropout: rate at which x is dropped on this way alone.
        generator: of A.
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.scale = scale
        self.dropout = dropout
        self.down = fresh(linear.weight, rank, linear.in_features, generator=generator)
        self.up = fresh(linear.weight, linear.out_features, rank)

    @property
    def rank(self) -> int:
        """Rows of A."""
        return len(self.down)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See `Change.forward`."""
        return y + self._low(self._dropped(x)).to(y.dtype)

    def delta(self, linear: nn.Linear) -> Tensor:
        """s B A."""
        return self.scale * (self.up @ self.down)

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x

    def _low(self, x: Tensor) -> Tensor:
        """s B A x."""
        return functional.linear(functional.linear(x.to(self.down.dtype), self.down) * self.scale, self.up)


class Decomposed(LowRank):
    """m (W + s B A) / |W + s B A| in the place of W, norms by row (Liu et al. 2024, DoRA, equation 5).

    No gradient flows through the norm (section 4.3).

    Args:
        linear: the map, whose rows' norms m has at first.
        rank: as in `LowRank`, like those that follow.
        scale: s.
        dropout: a rate.
        generator: of A.
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float, dropout: float, generator: torch.Generator) -> None:
        super().__init__(linear, rank, scale, dropout, generator)
        # Not a module of this one, to which the map belongs itself.
        self._linear = (linear,)
        self.magnitude = nn.Parameter(torch.linalg.vector_norm(own_weight(linear).detach().to(self.up.dtype), dim=1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See `Change.forward`."""
        weight, x = own_weight(self._linear[0]), self._dropped(x)
        share = self._share(weight)
        base = functional.linear(x, weight.to(x.dtype))
        return y + ((share - 1) * base + share * self._low(x)).to(y.dtype)

    def delta(self, linear: nn.Linear) -> Tensor:
        """What this makes of the weight, less the weight."""
        weight = own_weight(linear)
        return self._share(weight)[:, None] * (weight + super().delta(linear)) - weight

    def _share(self, weight: Tensor) -> Tensor:
        """m / |W + s B A|."""
        with torch.no_grad():
            norm = torch.linalg.vector_norm(weight + super().delta(self._linear[0]), dim=1)
        share: Tensor = self.magnitude / norm
        return share


@dataclass(frozen=True, kw_only=True)
class LoRA(Adaptation):
    """Maps learn a change of low rank: W + (alpha / rank) B A (Hu et al. 2021).

    Args:
        rank: of the change.
        alpha: times what the change is scaled with: alpha / rank.
        targets: which maps, by role: "query", or with more of the path "cross_attention.query"; "*" for all in blocks.
        ranks: of some targets another rank; where several name a map the last holds.
        alphas: the same for alpha.
        dropout: rate at which the input of the change is dropped.
        scaling: "rank_stabilised" for alpha / sqrt(rank) (Kalajdzievski 2023, rsLoRA).
        decomposed: learn the norms of the rows apart (Liu et al. 2024, DoRA).
    """

    kind: ClassVar[str] = "lora"

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("query", "value")
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    dropout: float = 0.0
    scaling: Scaling = "standard"
    decomposed: bool = False

    def faults(self, spec: Shape) -> list[Fault]:
        """The values are in their bounds, and every target names a map."""
        model = skeleton(spec)
        found = [
            Fault(name, rank, "must be a whole number of at least 1", "use 8")
            for name, rank in [("rank", self.rank), *_within("ranks", self.ranks)]
            if type(rank) is not int or rank < 1
        ]
        found += [
            Fault(name, alpha, "must be a positive number", "use twice the rank")
            for name, alpha in [("alpha", self.alpha), *_within("alphas", self.alphas)]
            if not (isinstance(alpha, int | float) and isfinite(alpha) and alpha > 0)
        ]
        if not 0 <= self.dropout < 1:
            found.append(Fault("dropout", self.dropout, "must be a rate from 0 up to 1", "use 0.05"))
        if self.scaling not in ("standard", "rank_stabilised"):
            found.append(Fault("scaling", self.scaling, "is unknown", "use standard or rank_stabilised"))
        there = names_of_roles(model)
        remedy = f"use some of {', '.join(there)}" if there else "use Full(), TopLayers() or GradualUnfreezing()"
        if not self.targets:
            found.append(Fault("targets", self.targets, "must name a role", remedy))
        found += [
            Fault("targets", target, "is the role of no map in this network", remedy)
            for target in self.targets
            if not roles(model, (target,))
        ]
        chosen = roles(model, self.targets)
        found += [
            Fault(name, target, "names no map among the targets", f"use some of {', '.join(self.targets)}")
            for name, given in (("ranks", self.ranks), ("alphas", self.alphas))
            for target in given
            if chosen and not any(ends(path, target) for path in chosen)
        ]
        return found

    def attach(self, model: nn.Module, name: str, seed: int = 0) -> None:
        """A change at every target."""
        generator = torch.Generator().manual_seed(seed)
        kind = Decomposed if self.decomposed else LowRank
        for path, linear in roles(model, self.targets).items():
            rank = _last(self.ranks, path, self.rank)
            scale = _last(self.alphas, path, self.alpha) / (sqrt(rank) if self.scaling == "rank_stabilised" else rank)
            plug(linear, name, kind(linear, rank, scale, self.dropout, generator))


def _within(name: str, values: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    return ((f"{name}.{key}", value) for key, value in values.items())


def _last(given: Mapping[str, Any], path: str, usual: Number) -> Number:
    """What the last of the targets that name this map says of it."""
    found: Number = [usual, *(value for end, value in given.items() if ends(path, end))][-1]
    return found
