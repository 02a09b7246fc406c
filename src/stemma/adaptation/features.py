"""Features: a network that gives vectors and does not learn."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.changes import Change, plug
from stemma.errors import Fault
from stemma.nn import LayerMix
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Shape

How = Literal["average", "mix"]
_HIDDENS: ContextVar[list[Tensor] | None] = ContextVar("hiddens", default=None)


@dataclass(frozen=True, kw_only=True)
class Features(Adaptation):
    """Nothing of the network learns; heads read the average of its last layers, or a learned mix of them.

    The mix is ELMo's, gamma sum_j softmax(w)_j h_j (Peters et al. 2018, equation 1); it begins as the average. Either
    gives other vectors than the last layer, so that they are for heads that have not learnt yet; `Frozen` reads the
    last layer alone.

    Args:
        layers: how many of the last layers; one more than there are blocks takes the embeddings, too.
        how: "average" (Devlin et al. 2019, section 5.3) or "mix".
    """

    kind: ClassVar[str] = "features"

    layers: int = 4
    how: How = "average"

    def faults(self, spec: Shape) -> list[Fault]:
        """There are so many layers, and a way to read them."""
        if not isinstance(spec, Architecture):
            return [Fault("features", self.how, f"is not for a network that is {spec.kind}", "give it a ScalarMix()")]
        most = (spec.n_decoder_layers or spec.n_encoder_layers) + 1
        found = []
        if type(self.layers) is not int or not 1 <= self.layers <= most:
            found.append(Fault("layers", self.layers, f"must be from 1 to {most}", "use fewer, or Frozen() for one"))
        if self.how not in ("average", "mix"):
            found.append(Fault("how", self.how, "is unknown", "use average or mix"))
        return found

    def attach(self, model: nn.Module, name: str, seed: int = 0) -> None:
        """Let the last stack give the layers in place of the last one."""
        stack = last_stack(model)
        change = Combined(self.layers, LayerMix(self.layers) if self.how == "mix" else None)
        change.to(next(model.parameters()).device)
        plug(stack, name, change)
        stack.register_forward_pre_hook(_listen, with_kwargs=True)


class Combined(Change):
    """The last layers as one.

    Args:
        layers: how many.
        mix: learned weights; None for the average.
    """

    def __init__(self, layers: int, mix: LayerMix | None) -> None:
        super().__init__()
        self.layers = layers
        self.mix = mix
        if mix is not None:
            with torch.no_grad():
                mix.draw(torch.Generator())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Their mean, or their mix."""
        hiddens = _HIDDENS.get()
        assert hiddens is not None, "the stack was listened to"
        return self.combine(hiddens[-self.layers :])

    def combine(self, layers: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
        """One vector a token of several."""
        made: Tensor = torch.stack(list(layers)).mean(0) if self.mix is None else self.mix(layers)
        return made


def last_stack(model: Any) -> nn.Module:
    """The stack that heads read."""
    stack: nn.Module = model.encoder if model.decoder is None else model.decoder
    return stack


def _listen(module: nn.Module, args: tuple[Any, ...], given: Mapping[str, Any]) -> tuple[Any, Any]:
    """Let a stack keep what each layer gives."""
    hiddens = given.get("hiddens")
    hiddens = [] if hiddens is None else hiddens
    _HIDDENS.set(hiddens)
    return args, {**given, "hiddens": hiddens}
