"""Linear maps of one input, run as one product over prepacked weights where nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.activations import ACTIVATION_FUNCTIONS, IN_PRODUCTS
from stemma.spec.parts import Activation

# Rows of the input for which weights are laid out; measured to serve one row and hundreds equally well.
_TYPICAL_ROWS = 512


class Linear(nn.Linear):
    """x W^T + b, whose first values are drawn by `initialise` alone."""

    def reset_parameters(self) -> None:
        """Nothing: see `stemma.nn.initialize`."""


PLAIN = "none", ""
"""No activation, by the kernel's names."""

Stamp = list[tuple[int, int, tuple[int, ...]]]


class Parts(NamedTuple):
    """Matrices (out, in) that share an input, and an offset for each or none at all."""

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]

    def stamp(self) -> Stamp:
        """What changes when a tensor is written to in place (its version), exchanged (its address) or turned."""
        return [(part.data_ptr(), part._version, part.stride()) for part in (*self.weights, *self.biases)]

    def packable(self) -> bool:
        """Whether torch, the processor and the tensors allow prepacked products (oneDNN)."""
        weight = self.weights[0]
        if weight.device.type != "cpu" or weight.is_inference() or not torch._C._has_mkldnn:
            return False
        half = weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return bool(half) or weight.dtype == torch.float32


class PackedProducts:
    """While this is entered, models that were packed run on their packed copies.

    Sums are taken in another order then, so that single-precision logits differ in the last digits: a verb asks for
    that, a plain call of a model does not. A copy is compared with its weights once for each of these objects, which
    may be entered many times: for one generated text, say.
    """

    def __enter__(self) -> PackedProducts:
        self._token = _ENTERED.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _ENTERED.reset(self._token)


_ENTERED: ContextVar[PackedProducts | None] = ContextVar("packed_products", default=None)


class Packed:
    """A product over a packed copy of matrices: side by side, in the order in which the processor reads them fastest.

    The copy is used only inside `PackedProducts`, only while the matrices are what they were when it was made, and only
    where neither a gradient nor a compiled graph nor another precision (autocast) is asked for.
    """

    def __init__(self) -> None:
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None
        self._stamp: Stamp = []
        self.widths: list[int] = []
        self._checked_in: PackedProducts | None = None
        # What was packed is kept, so that what it is exchanged for cannot come to lie at its address.
        self._packed: list[Tensor] = []

    def __getstate__(self) -> dict[str, object]:
        # A packed weight can be neither copied nor pickled; it can be made again.
        return vars(Packed())

    def pack(self, parts: Parts) -> None:
        """Make the copy; without effect where it is impossible, or stands already."""
        if not parts.packable() or self._stamp == parts.stamp():
            return
        self._weight = torch.ops.mkldnn._reorder_linear_weight(torch.cat(list(parts.weights)).detach(), _TYPICAL_ROWS)
        self._bias = torch.cat(list(parts.biases)).detach() if parts.biases else None
        self._stamp = parts.stamp()
        self.widths = [len(weight) for weight in parts.weights]
        self._packed = [part.detach() for part in (*parts.weights, *parts.biases)]

    def serves(self, parts: Callable[[], Parts | None]) -> bool:
        """Whether the copy may stand for the matrices here."""
        if self._weight is None or torch.compiler.is_compiling():
            return False
        entered = _ENTERED.get()
        if entered is None or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
            return False
        if self._checked_in is not entered:
            now = parts()
            if now is None or self._stamp != now.stamp():
                vars(self).update(vars(Packed()))
                return False
            self._checked_in = entered
        return True

    def __call__(self, x: Float[Tensor, "B S D"], activation: tuple[str, str] = PLAIN) -> Float[Tensor, "B S rows"]:
        """f(x W^T + b); the kernel's name of f, and of its kind."""
        name, kind = activation
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, name, [], kind)
        return product

    def times(self, x: Float[Tensor, "B S D"], factor: Float[Tensor, "B S rows"]) -> Float[Tensor, "B S rows"]:
        """(x W^T + b) * factor."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, factor, self._weight, self._bias, "mul")
        return product


class Fused:
    """Linear maps of one input, which stay modules of their own: each can be adapted, frozen or replaced by its role.

    After `pack` they run as one product. A map that was replaced by another kind of module, or that carries hooks, is
    called by itself.

    Args:
        owner: the module that holds the maps.
        names: their names, in order.
        activation: f, through which the first one's output goes; none where None.
    """

    def __init__(self, owner: nn.Module, names: tuple[str, ...], activation: Activation | None = None) -> None:
        self._owner = owner
        self._names = names
        self._packed = Packed()
        self.activation = activation

    def pack(self) -> None:
        """Make the packed copy; without effect where it is impossible."""
        if (parts := self._parts()) is not None:
            self._packed.pack(parts)

    def __call__(self, x: Float[Tensor, "B S D"]) -> tuple[Tensor, ...]:
        """The output of each map, B S (its width); the first one's through f."""
        if self.activation is None:
            return self._products(x)
        inside = IN_PRODUCTS.get(self.activation)
        if inside is not None and len(self._names) == 1 and self.serves():
            return (self._packed(x, inside),)
        first, *rest = self._products(x)
        return (ACTIVATION_FUNCTIONS[self.activation](first), *rest)

    def serves(self) -> bool:
        """Whether the packed copy stands for the maps here."""
        return self._packed.serves(self._parts)

    def times(self, x: Float[Tensor, "B S D"], factor: Float[Tensor, "B S rows"]) -> Float[Tensor, "B S rows"]:
        """The output of the maps, multiplied; only while the packed copy serves."""
        return self._packed.times(x, factor)

    def _products(self, x: Float[Tensor, "B S D"]) -> tuple[Tensor, ...]:
        if self.serves():
            return torch.split_with_sizes(self._packed(x), self._packed.widths, -1)
        trained = torch.compiler.is_compiling() and torch.is_grad_enabled()
        if trained and len(self._names) > 1 and (parts := self._parts()) is not None:
            # A compiler lays the matrices side by side while it turns them to the precision of the product.
            bias = torch.cat(list(parts.biases)) if parts.biases else None
            product = functional.linear(x, torch.cat(list(parts.weights)), bias)
            return torch.split_with_sizes(product, [len(weight) for weight in parts.weights], -1)
        return tuple(getattr(self._owner, name)(x) for name in self._names)

    def _parts(self) -> Parts | None:
        maps = [self._owner._modules[name] for name in self._names]
        linears = [part for part in maps if type(part) is Linear and not _hooked(part)]
        biases = [part.bias for part in linears if part.bias is not None]
        if len(linears) < len(maps) or len(biases) not in (0, len(maps)):
            return None
        return Parts([part.weight for part in linears], biases)


class Gating:
    """f(gate(x)) * up(x); after `pack` the second of two products multiplies what the first one gave.

    Args:
        owner: the module that holds both maps.
        activation: f.
    """

    def __init__(self, owner: nn.Module, activation: Activation) -> None:
        self._both = Fused(owner, ("gate", "up"), activation)
        self._gate, self._up = Fused(owner, ("gate",), activation), Fused(owner, ("up",))

    def pack(self) -> None:
        """Make the packed copies; without effect where it is impossible."""
        self._gate.pack()
        self._up.pack()

    def __call__(self, x: Float[Tensor, "B S D"]) -> tuple[Tensor]:
        """What the network's last map reads, B S F."""
        if self._gate.serves() and self._up.serves():
            return (self._up.times(x, *self._gate(x)),)
        gate, up = self._both(x)
        return (gate * up,)


def _hooked(part: nn.Module) -> bool:
    return bool(part._forward_hooks or part._forward_pre_hooks)


class Scoring:
    """The product of hidden states with a vocabulary's table."""

    def __init__(self) -> None:
        self._packed = Packed()

    def pack(self, table: Float[Tensor, "V D"], bias: Float[Tensor, " V"] | None) -> None:
        """Make the packed copy; without effect where it is impossible."""
        self._packed.pack(_table(table, bias))

    def __call__(
        self, x: Float[Tensor, "B S D"], table: Float[Tensor, "V D"], bias: Float[Tensor, " V"] | None
    ) -> Float[Tensor, "B S V"]:
        """x table^T + bias."""
        if self._packed.serves(lambda: _table(table, bias)):
            return self._packed(x)
        return functional.linear(x, table, bias)


def _table(table: Tensor, bias: Tensor | None) -> Parts:
    return Parts([table], [] if bias is None else [bias])
