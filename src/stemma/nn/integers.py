"""Linear maps in blocks as products of 8-bit integers, for inference on a processor."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stemma.nn.activations import ACTIVATION_FUNCTIONS, IN_PRODUCTS
from stemma.nn.attention import Attention
from stemma.nn.feedforward import FeedForward
from stemma.nn.linears import PLAIN, Fused, Parts
from stemma.nn.model import Model
from stemma.spec.parts import Activation, Gated

_MOST, _ZERO = 127, 128  # the kernel reads unsigned activations, so that 128 stands for nothing
_SMALLEST = 1e-6


class _Watched:
    """A product whose inputs are watched.

    Args:
        product: that is computed.
    """

    def __init__(self, product: Fused) -> None:
        self.product = product
        self.low = self.high = torch.zeros(())

    def __call__(self, x: Float[Tensor, "B S D"]) -> tuple[Tensor, ...]:
        """The product; the least and the greatest value of each channel, and nought, are kept."""
        low, high = x.float().flatten(0, 1).aminmax(dim=0)
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        return self.product(x)

    @property
    def parts(self) -> Parts | None:
        """The matrices, where there are any and something was read."""
        return self.product._parts() if self.low.ndim else None

    @property
    def largest(self) -> Float[Tensor, " D"]:
        """The greatest absolute value of each channel."""
        return torch.maximum(self.high, -self.low)


class Grid(NamedTuple):
    """Where integers lie among the values that they stand for: value = step (integer - zero).

    Args:
        step: from one to the next.
        zero: the integer of nothing.
    """

    step: float
    zero: int


class IntegerProduct:
    """f(x W^T + b) of 8-bit integers, a scale for each row of W and each column of x, both known before.

    What large columns of x lose in precision is shared with the weights (Xiao et al. 2023, SmoothQuant, section 4).

    Args:
        parts: matrices that share an input.
        largest: absolute value of each column of x; None where x comes as integers.
        read: the grid of x, where it comes as integers.
        written: the grid of what is given, where that is to be integers.
        activation: f, through which the first map's output goes; none where None.
    """

    def __init__(
        self,
        parts: Parts,
        largest: Float[Tensor, " D"] | None,
        read: Grid | None = None,
        written: Grid | None = None,
        activation: Activation | None = None,
    ) -> None:
        weight = torch.cat(list(parts.weights)).detach().float()
        self._factors: Tensor | None = None
        if largest is not None:
            shared = (largest.clamp(min=_SMALLEST) / weight.abs().amax(0).clamp(min=_SMALLEST)).sqrt()
            step = (largest / shared).max().clamp(min=_SMALLEST) / _MOST
            # Rounded first, so that the product undoes just what was done.
            self._factors = (shared * step).reciprocal().to(parts.weights[0].dtype)
            weight = weight / self._factors.float()
        self._read = read or Grid(1.0, _ZERO)
        self._scales = (weight.abs().amax(1) / _MOST).clamp(min=torch.finfo(torch.float32).tiny)
        integers = (weight / self._scales[:, None]).round().to(torch.int8)
        self._integers = torch.ops.onednn.qlinear_prepack(integers, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = torch.cat(list(parts.biases)).detach().float() if parts.biases else None
        self._widths = [len(part) for part in parts.weights]
        self._written = written or Grid(1.0, 0)
        self._type = torch.uint8 if written else parts.weights[0].dtype
        alone = len(parts.weights) == 1 and activation in IN_PRODUCTS
        self._inside = IN_PRODUCTS[activation] if alone and activation else PLAIN
        self._after = None if alone or activation is None else ACTIVATION_FUNCTIONS[activation]

    def pack(self) -> None:
        """Nothing: it is."""

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """The output of each map, B S (its width); the first one's through f."""
        if self._factors is not None:
            integers = (x * self._factors).round_().clamp_(-_MOST, _MOST).to(torch.int8)
            x = integers.view(torch.uint8).bitwise_xor_(_ZERO)
        name, kind = self._inside
        weights = self._integers, self._scales, self._zeros, self._bias
        product = torch.ops.onednn.qlinear_pointwise(
            x.flatten(0, 1), *self._read, *weights, *self._written, self._type, name, [], kind
        )
        first, *rest = torch.split_with_sizes(product.view(*x.shape[:2], -1), self._widths, -1)
        return (first if self._after is None else self._after(first), *rest)


def with_integers(model: Model, sample: Sequence[Int[Tensor, "B S"]]) -> Model:
    """A copy for inference whose maps in blocks are products of integers, and all else half precision.

    Maps that were adapted, and experts, stay in half precision.

    Args:
        model: left as it is.
        sample: texts that show how large activations are; what exceeds them is clipped.
    """
    copy = deepcopy(model).to(torch.bfloat16).requires_grad_(False).eval()
    owners = [module for module in copy.modules() if isinstance(module, Attention | FeedForward)]
    watched = {(module, name): _Watched(getattr(module, name)) for module in owners for name in ("inputs", "ending")}
    for (module, name), watch in watched.items():
        setattr(module, name, watch)
    with torch.inference_mode():
        for tokens in sample:
            copy(tokens, scores=False)
    for (module, name), watch in watched.items():
        setattr(module, name, watch.product)
    for module in owners:
        first, second = (watched[module, name] for name in ("inputs", "ending"))
        chain = _chain(copy, module, second) if first.parts and second.parts else {}
        for name, watch in (("inputs", first), ("ending", second)):
            if (parts := watch.parts) is not None:
                given = {"largest": watch.largest, "activation": watch.product.activation} | chain.get(name, {})
                setattr(module, name, IntegerProduct(parts, **given))
    return copy


def _chain(model: Model, module: Attention | FeedForward, ending: _Watched) -> dict[str, dict[str, Any]]:
    """What makes the first product of a plain feed-forward network give the integers that its second one reads."""
    kind = model.architecture.feedforward
    if isinstance(module, Attention) or isinstance(kind, Gated) or kind.activation not in IN_PRODUCTS:
        return {}
    low, high = float(ending.low.min()), max(float(ending.high.max()), _SMALLEST)
    step = (high - low) / 255
    grid = Grid(step, round(-low / step))
    return {"inputs": {"written": grid}, "ending": {"largest": None, "read": grid}}
