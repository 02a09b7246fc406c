"""The feed-forward network: each position by itself."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.linears import Fused, Gating, Linear
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Gated


class FeedForward(nn.Module):
    """down(f(up(x))), or down(f(gate(x)) * up(x)) where gated (Shazeer 2020, equation 6).

    Args:
        spec: the architecture.
    """

    def __init__(self, spec: Architecture) -> None:
        super().__init__()
        bias = spec.bias.feedforward
        gated, activation = isinstance(spec.feedforward, Gated), spec.feedforward.activation
        for name in ("gate", "up") if gated else ("up",):
            self.add_module(name, Linear(spec.d_model, spec.d_ff, bias=bias))
        self.down = Linear(spec.d_ff, spec.d_model, bias=bias)
        self.dropout = spec.dropout.feedforward
        self.inputs = Gating(self, activation) if gated else Fused(self, ("up",), activation)
        self.ending = Fused(self, ("down",))

    def forward(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """The network's output for each position."""
        (inner,) = self.inputs(x)
        if self.dropout and self.training:
            inner = functional.dropout(inner, self.dropout)
        return self.ending(inner)[0]
