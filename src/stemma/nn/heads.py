"""What reads the last hidden states."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.feedforward import ACTIVATION_FUNCTIONS
from stemma.nn.linears import Linear, Scoring
from stemma.nn.norms import Normalise
from stemma.spec.architecture import Architecture
from stemma.spec.parts import LanguageModelHead, MaskedLMHead, NextSentenceHead, Pooler


class LanguageModelling(nn.Module):
    """Scores of the vocabulary, by a matrix of its own or by the embedding table (Press and Wolf 2017).

    Args:
        spec: the architecture.
        head: its head.
    """

    def __init__(self, spec: Architecture, head: LanguageModelHead) -> None:
        super().__init__()
        self.scale = spec.d_model**-0.5 if head.scaled else 1.0
        self.weight = None if head.tied else nn.Parameter(torch.empty(spec.vocab_size, spec.d_model))
        self.bias = nn.Parameter(torch.empty(spec.vocab_size)) if head.bias else None
        self.scoring = Scoring()

    def forward(self, x: Float[Tensor, "B S D"], table: Float[Tensor, "V D"]) -> Float[Tensor, "B S V"]:
        """The logits.

        Args:
            x: last hidden states.
            table: the embedding table, used where the head is tied.
        """
        if self.scale != 1.0:
            x = x * self.scale
        return self.scoring(x, table if self.weight is None else self.weight, self.bias)

    def pack(self, table: Float[Tensor, "V D"]) -> None:
        """Pack the table, or the matrix that stands for it."""
        self.scoring.pack(table if self.weight is None else self.weight, self.bias)


class MaskedModelling(nn.Module):
    """Dense layer, activation, norm, then scores of the vocabulary (Devlin et al. 2019, appendix A).

    Args:
        spec: the architecture.
        head: its head.
    """

    def __init__(self, spec: Architecture, head: MaskedLMHead) -> None:
        super().__init__()
        self.dense = Linear(spec.d_model, spec.d_model)
        self.activation = ACTIVATION_FUNCTIONS[head.activation]
        self.norm = Normalise(spec.norm, spec.d_model)
        self.weight = None if head.tied else nn.Parameter(torch.empty(spec.vocab_size, spec.d_model))
        self.bias = nn.Parameter(torch.empty(spec.vocab_size))

    def forward(self, x: Float[Tensor, "B S D"], table: Float[Tensor, "V D"]) -> Float[Tensor, "B S V"]:
        """The logits; see `LanguageModelling.forward`."""
        hidden = self.norm(self.activation(self.dense(x)))
        return functional.linear(hidden, table if self.weight is None else self.weight, self.bias)


def build_heads(spec: Architecture) -> nn.ModuleDict:
    """The modules of an architecture's heads, by their names."""
    modules: dict[str, nn.Module] = {}
    for head in spec.heads:
        match head:
            case LanguageModelHead():
                modules[head.name] = LanguageModelling(spec, head)
            case MaskedLMHead():
                modules[head.name] = MaskedModelling(spec, head)
            case Pooler():
                modules[head.name] = Linear(spec.d_model, spec.d_model)
            case NextSentenceHead():
                modules[head.name] = Linear(spec.d_model, 2)
    return nn.ModuleDict(modules)
