"""What reads the last hidden states."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.activations import ACTIVATION_FUNCTIONS
from stemma.nn.embeddings import Table
from stemma.nn.linears import Linear, Scoring
from stemma.nn.norms import Normalise
from stemma.nn.task_heads import build_task_head
from stemma.spec.architecture import Architecture
from stemma.spec.ends import (
    LanguageModelHead,
    MaskedLMHead,
    NextSentenceHead,
    Pooler,
    ReplacedTokenHead,
    SpanBoundaryHead,
)
from stemma.spec.tasks import AnswerHead, ClassifierHead, TaggerHead


class Product(NamedTuple):
    """The last product of a head that scores the vocabulary: logits are features weight^T + bias.

    A loss that needs few of the logits, or never all of them at once, takes this in their place.

    Args:
        features: what is scored, (any, E).
        weight: the vocabulary's table, V E.
        bias: an offset a word, V; None where there is none.
    """

    features: Tensor
    weight: Tensor
    bias: Tensor | None


class LanguageModelling(nn.Module):
    """Scores of the vocabulary, by a matrix of its own or by the embedding table (Press and Wolf 2017).

    Args:
        spec: the architecture.
        head: its head.
    """

    def __init__(self, spec: Architecture, head: LanguageModelHead) -> None:
        super().__init__()
        self.scale = spec.d_model**-0.5 if head.scaled else 1.0
        if spec.embedding.width:
            self.narrowing = Linear(spec.d_model, spec.embedding.width, bias=False)
        self.weight = None if head.tied else nn.Parameter(torch.empty(spec.vocab_size, spec.d_embedding))
        self.bias = nn.Parameter(torch.empty(spec.vocab_size)) if head.bias else None
        self.scoring = Scoring()

    def forward(self, x: Float[Tensor, "B S D"], table: Float[Tensor, "V E"]) -> Float[Tensor, "B S V"]:
        """The logits.

        Args:
            x: last hidden states.
            table: the embedding table, used where the head is tied.
        """
        return self.scoring(*self.product(x, table))

    def product(self, x: Float[Tensor, "*any D"], table: Float[Tensor, "V E"]) -> Product:
        """What is multiplied to give the logits; arguments as in `forward`."""
        if self.scale != 1.0:
            x = x * self.scale
        if hasattr(self, "narrowing"):
            x = self.narrowing(x)
        return Product(x, table if self.weight is None else self.weight, self.bias)

    def pack(self, table: Float[Tensor, "V E"]) -> None:
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
        if head.dense:
            self.dense = Linear(spec.d_model, spec.d_embedding)
            self.activation = ACTIVATION_FUNCTIONS[head.activation]
            self.norm = Normalise(spec.norm, spec.d_embedding)
        self.weight = None if head.tied else nn.Parameter(torch.empty(spec.vocab_size, spec.d_embedding))
        self.bias = nn.Parameter(torch.empty(spec.vocab_size))

    def forward(self, x: Float[Tensor, "B S D"], table: Float[Tensor, "V E"]) -> Float[Tensor, "B S V"]:
        """The logits; see `LanguageModelling.forward`."""
        return functional.linear(*self.product(x, table))

    def product(self, x: Float[Tensor, "*any D"], table: Float[Tensor, "V E"]) -> Product:
        """What is multiplied to give the logits."""
        hidden = self.norm(self.activation(self.dense(x))) if hasattr(self, "dense") else x
        return Product(hidden, table if self.weight is None else self.weight, self.bias)


class ReplacedTokens(nn.Module):
    """One score a token, positive where it seems to have been replaced (Clark et al. 2020, section 2).

    Args:
        spec: the architecture.
        head: its head.
    """

    def __init__(self, spec: Architecture, head: ReplacedTokenHead) -> None:
        super().__init__()
        self.dense = Linear(spec.d_model, spec.d_model)
        self.activation = ACTIVATION_FUNCTIONS[head.activation]
        self.score = Linear(spec.d_model, 1)

    def forward(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B S"]:
        """The scores of last hidden states."""
        return self.score(self.activation(self.dense(x)))[..., 0]


class SpanBoundaries(nn.Module):
    """Scores of a span's tokens from what stands around it (Joshi et al. 2020, section 3.2).

    Args:
        spec: the architecture.
        head: its head.
    """

    def __init__(self, spec: Architecture, head: SpanBoundaryHead) -> None:
        super().__init__()
        self.place = Table(head.max_span, head.d_place)
        self.first = Linear(2 * spec.d_model + head.d_place, spec.d_model)
        self.first_norm = Normalise(spec.norm, spec.d_model)
        self.second = Linear(spec.d_model, spec.d_embedding)
        self.second_norm = Normalise(spec.norm, spec.d_embedding)
        self.bias = nn.Parameter(torch.empty(spec.vocab_size))

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        spans: Int[Tensor, "B spans 2"],
        table: Float[Tensor, "V E"],
    ) -> Float[Tensor, "B spans places V"]:
        """The logits of each place in each span.

        Args:
            x: last hidden states.
            spans: position of the token before each span and of the one after it.
            table: the embedding table.
        """
        return functional.linear(*self.product(x, spans, table))

    def product(
        self, x: Float[Tensor, "B S D"], spans: Int[Tensor, "B spans 2"], table: Float[Tensor, "V E"]
    ) -> Product:
        """What is multiplied to give the logits; arguments as in `forward`."""
        rows = torch.arange(x.shape[0], device=x.device)[:, None, None]
        around = x[rows, spans].flatten(2)
        places = self.place.weight
        n_rows, n_spans, n_places = *around.shape[:2], places.shape[0]
        both = torch.cat(
            (
                around[:, :, None].expand(-1, -1, n_places, -1),
                places.expand(n_rows, n_spans, -1, -1),
            ),
            -1,
        )
        hidden = self.first_norm(functional.gelu(self.first(both)))
        hidden = self.second_norm(functional.gelu(self.second(hidden)))
        return Product(hidden, table, self.bias)


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
            case ReplacedTokenHead():
                modules[head.name] = ReplacedTokens(spec, head)
            case SpanBoundaryHead():
                modules[head.name] = SpanBoundaries(spec, head)
            case ClassifierHead() | TaggerHead() | AnswerHead():
                modules[head.name] = build_task_head(head, spec.d_hidden, spec.dropout.residual)
    return nn.ModuleDict(modules)
