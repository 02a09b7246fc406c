"""Small networks between the sub-layers: Houlsby's adapters and their kin."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.changes import Change, fresh, plug
from stemma.adaptation.places import skeleton, sublayers
from stemma.errors import Fault
from stemma.nn.activations import ACTIVATION_FUNCTIONS
from stemma.spec.lineage import Shape
from stemma.spec.parts import Activation

Placement = Literal["houlsby", "pfeiffer", "parallel"]

# Which sub-layers have one.
_PLACES = {"houlsby": ("attention", "feedforward"), "pfeiffer": ("feedforward",), "parallel": ("feedforward",)}


class Bottleneck(Change):
    """y + s (U f(D z + d) + u), U and u zero at first (Houlsby et al. 2019, section 2.1).

    Args:
        d_model: the width of what it reads and gives.
        like: a weight of the sub-layer.
        adapters: its own width, f and s, and whether z is what the sub-layer reads or what it gives.
        generator: of D.
    """

    def __init__(self, d_model: int, like: Tensor, adapters: Adapters, generator: torch.Generator) -> None:
        super().__init__()
        self.scale = adapters.scale
        self.beside = adapters.placement == "parallel"
        self.activation = ACTIVATION_FUNCTIONS[adapters.activation]
        # The authors' U is nearly zero; here it is, which changes nothing at first.
        self.down = fresh(like, adapters.width, d_model, generator=generator)
        self.down_bias = fresh(like, adapters.width)
        self.up = fresh(like, d_model, adapters.width)
        self.up_bias = fresh(like, d_model)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See `Change.forward`."""
        read = (x if self.beside else y).to(self.down.dtype)
        inner = self.activation(functional.linear(read, self.down, self.down_bias))
        return y + (functional.linear(inner, self.up, self.up_bias) * self.scale).to(y.dtype)


@dataclass(frozen=True, kw_only=True)
class Adapters(Adaptation):
    """A narrow network in each block, before the sum with the residual stream.

    Args:
        width: of the narrow network.
        placement: "houlsby" after each attention and each feed-forward network (Houlsby et al. 2019, figure 2);
            "pfeiffer" after the feed-forward network alone (Pfeiffer et al. 2021, section 2.2); "parallel" beside it,
            reading what it reads (He et al. 2022, section 4.2).
        activation: in its middle.
        scale: times what it adds.
    """

    kind: ClassVar[str] = "adapters"

    width: int = 64
    placement: Placement = "houlsby"
    activation: Activation = "gelu"
    scale: float = 1.0

    def faults(self, spec: Shape) -> list[Fault]:
        """The values are known, and the network has such sub-layers."""
        found = []
        if type(self.width) is not int or self.width < 1:
            found.append(Fault("width", self.width, "must be a whole number of at least 1", "use 64"))
        if self.placement not in _PLACES:
            found.append(Fault("placement", self.placement, "is unknown", f"use {' or '.join(_PLACES)}"))
        if self.activation not in get_args(Activation):
            found.append(Fault("activation", self.activation, "is unknown", f"use {' or '.join(get_args(Activation))}"))
        if not isfinite(self.scale) or self.scale == 0:
            found.append(Fault("scale", self.scale, "must be a number other than 0", "use 1"))
        if not any(sublayers(skeleton(spec))):
            rule = f"follows the sub-layers attention and feedforward, which a {spec.kind} network has not"
            found.append(Fault("placement", self.placement, rule, "use Full(), TopLayers() or GradualUnfreezing()"))
        return found

    def attach(self, model: nn.Module, name: str, seed: int = 0) -> None:
        """One at every place."""
        generator = torch.Generator().manual_seed(seed)
        for place, module in list(sublayers(model)):
            if place in _PLACES[self.placement]:
                last = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
                plug(module, name, Bottleneck(last.out_features, last.weight, self, generator))
