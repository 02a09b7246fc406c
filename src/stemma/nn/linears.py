"""Linear maps of one input, run as a single product where nothing is trained."""

from __future__ import annotations

from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Fused:
    """Several maps of one input, side by side.

    The maps stay modules and parameters of their own, so that each can be adapted, frozen or replaced by its role. For
    inference `pack` lays their weights side by side in one block of memory, of which each weight then is a view: one
    large product is up to twice as fast as several small ones. The block is used only as long as the weights lie in it
    and no gradient is asked for.

    Args:
        owner: the module that holds the maps.
        names: their names, in order.
    """

    def __init__(self, owner: nn.Module, names: tuple[str, ...]) -> None:
        self._owner = owner
        self._names = names
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None

    def __getstate__(self) -> dict[str, object]:
        # A copy's weights are its own: they no longer lie in this block.
        return {**self.__dict__, "_weight": None, "_bias": None}

    @property
    def maps(self) -> list[nn.Module]:
        """The maps, in order."""
        return [getattr(self._owner, name) for name in self._names]

    def pack(self) -> None:
        """Lay the weights side by side; without effect where a map was replaced by something else."""
        maps = self.maps
        linears = [part for part in maps if type(part) is nn.Linear]
        if len(linears) < len(maps):
            return
        weight = torch.cat([part.weight.detach() for part in linears])
        if weight.dtype == torch.float32:
            # Products with one row read a matrix of single precision faster along its columns.
            weight = weight.t().contiguous().t()
        self._weight = weight
        self._bias = torch.cat([part.bias.detach() for part in linears]) if linears[0].bias is not None else None
        for part, rows in zip(linears, self._rows(linears), strict=True):
            part.weight.data = weight[rows]
            if self._bias is not None:
                part.bias.data = self._bias[rows]

    def __call__(self, x: Float[Tensor, "B S D"]) -> tuple[Tensor, ...]:
        """The output of each map, B S (its width)."""
        if not self._packed():
            return tuple(part(x) for part in self.maps)
        assert self._weight is not None
        widths = [part.out_features for part in self.maps if isinstance(part, nn.Linear)]
        return torch.split(functional.linear(x, self._weight, self._bias), widths, -1)

    def _packed(self) -> bool:
        # A compiler fuses and lays out by itself, and would take the block for a constant.
        if self._weight is None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        base = self._weight.data_ptr()
        maps = [part for part in self.maps if type(part) is nn.Linear]
        step = self._weight.stride(0) * self._weight.element_size()
        rows = self._rows(maps)
        return len(maps) == len(self._names) and all(
            part.weight.data_ptr() == base + step * place.start for part, place in zip(maps, rows, strict=True)
        )

    @staticmethod
    def _rows(maps: list[nn.Linear]) -> list[slice]:
        stops = list(accumulate(part.out_features for part in maps))
        return [slice(stop - part.out_features, stop) for stop, part in zip(stops, maps, strict=True)]
