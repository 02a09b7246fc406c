"""A mixture of feed-forward networks, of which each token runs through a few; and how evenly they are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from stemma.nn.feedforward import FeedForward
from stemma.nn.linears import Linear
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Experts


class Routing(NamedTuple):
    """How one block's router sent its tokens.

    Args:
        logits: of each expert for each token.
        chosen: numbers of the experts that ran, the likeliest first.
    """

    logits: Float[Tensor, "B S E"]
    chosen: Int[Tensor, "B S active"]


class Mixture(nn.Module):
    """sum over the chosen i of p_i(x) f_i(x), p the softmax of a linear map (Shazeer et al. 2017, section 2).

    Each expert runs once, on the tokens that chose it; the others do not run. No token is dropped.

    Args:
        spec: the architecture.
        experts: how many there are, and how many run.
    """

    def __init__(self, spec: Architecture, experts: Experts) -> None:
        super().__init__()
        self.spec = experts
        self.router = Linear(spec.d_model, experts.n_experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(spec) for _ in range(experts.n_experts))

    def forward(self, x: Float[Tensor, "B S D"], routings: list[Routing] | None = None) -> Float[Tensor, "B S D"]:
        """The weighted sum of the chosen experts' outputs.

        Args:
            x: B S D.
            routings: where the routing is put, if it is asked for.
        """
        logits_BSE = self.router(x)
        weight_BSA, chosen_BSA = _probabilities(logits_BSE).topk(self.spec.n_active, -1)
        if routings is not None:
            routings.append(Routing(logits_BSE, chosen_BSA))
        if self.spec.normalised:
            weight_BSA = weight_BSA / weight_BSA.sum(-1, keepdim=True)
        # Sorted by expert, so that each one's tokens lie side by side; a choice is one token's for one expert.
        choices = chosen_BSA.flatten()
        order = choices.argsort(stable=True)
        sizes = (choices == torch.arange(self.spec.n_experts, device=x.device)[:, None]).sum(-1).tolist()
        parts = torch.split_with_sizes(x.flatten(0, 1).index_select(0, order // self.spec.n_active), sizes)
        # In a compiled graph the sizes are unknown: those without tokens run on none.
        unknown = torch.compiler.is_compiling()
        ran = [expert(part[None])[0] for expert, part in zip(self.experts, parts, strict=True) if unknown or len(part)]
        # Put back in the order of the choices, the experts of one token side by side.
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))
        outputs_BSAD = torch.cat(ran).index_select(0, back).view(*chosen_BSA.shape, -1)
        return (outputs_BSAD * weight_BSA[..., None]).sum(-2).to(outputs_BSAD.dtype)


def load_balancing_loss(routings: Sequence[Routing], mask: Bool[Tensor, "B S"] | None = None) -> Float[Tensor, ""]:
    """n_experts * sum_i f_i P_i, smallest where all experts are chosen alike (Fedus et al. 2021, equations 4 to 6).

    f_i is how often expert i is chosen for a token and P_i its mean probability, both over the tokens of all layers
    together, as in Mixtral's code; only P_i has a gradient. Balanced, it is the number of experts that run for a token.

    Args:
        routings: of every layer with experts.
        mask: True where a token counts; all do where not given.
    """
    probabilities_LNE, chosen_LNE = _counted(routings, mask)
    load, mean = chosen_LNE.flatten(0, 1).mean(0), probabilities_LNE.flatten(0, 1).mean(0)
    return load @ mean * len(load)


def router_z_loss(routings: Sequence[Routing], mask: Bool[Tensor, "B S"] | None = None) -> Float[Tensor, ""]:
    """The mean square of logsumexp of the logits, which keeps these small (Zoph et al. 2022, ST-MoE, equation 5).

    Args:
        routings: of every layer with experts; the loss is their mean.
        mask: True where a token counts; all do where not given.
    """
    logits_LNE = torch.stack([_rows(routing.logits, mask) for routing in routings])
    return logits_LNE.to(torch.promote_types(logits_LNE.dtype, torch.float32)).logsumexp(-1).square().mean()


class RoutingStatistics(NamedTuple):
    """What the routers of a pass did, layer by layer.

    Args:
        share: of the layer's choices that fell on each expert; 1 / n_experts where they are even.
        entropy: of the mean distribution over experts, in nats; log(n_experts) where that is even.
        decision: mean entropy of a single token's distribution, in nats; 0 where the router is sure.
    """

    share: Float[Tensor, "layers E"]
    entropy: Float[Tensor, " layers"]
    decision: Float[Tensor, " layers"]


@torch.no_grad()
def routing_statistics(routings: Sequence[Routing], mask: Bool[Tensor, "B S"] | None = None) -> RoutingStatistics:
    """How evenly and how surely experts were chosen; that any token was dropped cannot be.

    Args:
        routings: of every layer with experts.
        mask: True where a token counts; all do where not given.
    """
    probabilities_LNE, chosen_LNE = _counted(routings, mask)
    share = chosen_LNE.mean(1)
    return RoutingStatistics(
        share / share.sum(-1, keepdim=True), _entropy(probabilities_LNE.mean(1)), _entropy(probabilities_LNE).mean(-1)
    )


def _counted(routings: Sequence[Routing], mask: Tensor | None) -> tuple[Float[Tensor, "L N E"], Float[Tensor, "L N E"]]:
    """For each token that counts: every expert's probability, and whether it was chosen."""
    probabilities = torch.stack([_rows(_probabilities(routing.logits), mask) for routing in routings])
    chosen = torch.stack([_rows(routing.chosen, mask) for routing in routings])
    return probabilities, torch.zeros_like(probabilities).scatter_(-1, chosen, 1.0)


def _probabilities(logits: Tensor) -> Tensor:
    """Their softmax, in at least single precision."""
    return logits.softmax(-1, torch.promote_types(logits.dtype, torch.float32))


def _rows(values: Tensor, mask: Tensor | None) -> Tensor:
    return values.flatten(0, 1) if mask is None else values[mask]


def _entropy(probabilities: Tensor) -> Tensor:
    return torch.special.entr(probabilities).sum(-1)
