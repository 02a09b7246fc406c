"""A word's vector from its characters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.spec.recurrent_parts import Characters

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"relu": functional.relu, "tanh": torch.tanh}


class Highway(nn.Module):
    """carry * relu(transform(x)) + (1 - carry) * x (Srivastava et al. 2015, equation 3).

    Args:
        width: of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.carry = nn.Linear(width, width)
        self.transform = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "N width"]) -> Float[Tensor, "N width"]:
        """The layer's output."""
        carry = torch.sigmoid(self.carry(x))
        return carry * functional.relu(self.transform(x)) + (1.0 - carry) * x


class CharacterVectors(nn.Module):
    """Convolutions over a word's characters, their maxima, highways and a map (Kim et al. 2015, section 2.1 and 2.2).

    Args:
        spec: the sizes.
    """

    def __init__(self, spec: Characters) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(spec.n_characters - 1, spec.d_character))
        self.filters = nn.ModuleList(nn.Conv1d(spec.d_character, channels, width) for width, channels in spec.filters)
        self.activation = spec.activation
        self.highways = nn.ModuleList(Highway(spec.n_filters) for _ in range(spec.n_highway))
        self.projection = nn.Linear(spec.n_filters, spec.d_embedding)

    def forward(self, characters: Int[Tensor, "B S C"]) -> Float[Tensor, "B S E"]:
        """The vectors of spelt words; a word that occurs twice is made once.

        Args:
            characters: ids, 0 where there is no character.
        """
        words, places = torch.unique(characters.flatten(0, 1), dim=0, return_inverse=True)
        spelt = functional.embedding(words, functional.pad(self.table, (0, 0, 1, 0))).mT
        # The maximum before the activation, which keeps order, gives the same and costs less.
        channels = torch.cat([convolution(spelt).amax(-1) for convolution in self.filters], -1)
        x = _ACTIVATIONS[self.activation](channels)
        for highway in self.highways:
            x = highway(x)
        return self.projection(x)[places].unflatten(0, characters.shape[:2])

    def draw(self, generator: torch.Generator) -> None:
        """First values as in the authors' code: highways begin by passing most of their input on."""
        self.table.uniform_(-1.0, 1.0, generator=generator)
        for convolution in self.filters:
            assert isinstance(convolution, nn.Conv1d), "built so"
            if self.activation == "relu":
                convolution.weight.uniform_(-0.05, 0.05, generator=generator)
            else:
                convolution.weight.normal_(0.0, convolution.weight[0].numel() ** -0.5, generator=generator)
            assert convolution.bias is not None, "built so"
            convolution.bias.zero_()
        for linear in (module for module in self.modules() if isinstance(module, nn.Linear)):
            linear.weight.normal_(0.0, linear.in_features**-0.5, generator=generator)
            linear.bias.zero_()
        for highway in self.highways:
            assert isinstance(highway, Highway), "built so"
            highway.carry.bias.fill_(-2.0)
