"""The parts of a recurrent network around its layers: word vectors, scores of words, the mix of layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.heads import Product
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Scores, TiedScores, Words


class WordVectors(nn.Module):
    """A vector for each word; in training some words are left out whole (Gal and Ghahramani 2016; Merity et al. 4.3).

    Args:
        spec: the sizes.
        dropout: rate at which words of the vocabulary are left out, wherever they stand.
    """

    def __init__(self, spec: Words, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(spec.vocab_size, spec.d_embedding))
        self.dropout = dropout

    def forward(self, tokens: Int[Tensor, "B S"]) -> Float[Tensor, "B S E"]:
        """The vectors of the words."""
        x = functional.embedding(tokens, self.weight)
        if not (self.dropout and self.training):
            return x
        kept = functional.dropout(self.weight.new_ones(len(self.weight), 1), self.dropout)
        return x * functional.embedding(tokens, kept)

    def draw(self, generator: torch.Generator) -> None:
        """First values as in the code of AWD-LSTM."""
        self.weight.uniform_(-0.1, 0.1, generator=generator)


class WordScores(nn.Module):
    """Scores of words, by a matrix of their own or by the table of words.

    Args:
        head: what it is.
        spec: the network that it ends.
    """

    def __init__(self, head: TiedScores | Scores, spec: Recurrent) -> None:
        super().__init__()
        own = isinstance(head, Scores)
        self.weight = nn.Parameter(torch.empty(spec.vocab_size, spec.outputs[-1])) if own else None
        self.bias = nn.Parameter(torch.empty(spec.vocab_size)) if head.bias else None

    def forward(self, x: Float[Tensor, "B S D"], table: Float[Tensor, "V D"] | None) -> Float[Tensor, "B S V"]:
        """The logits; `table` is used where there is no matrix."""
        return functional.linear(*self.product(x, table))

    def product(self, x: Float[Tensor, "*any D"], table: Float[Tensor, "V D"] | None) -> Product:
        """What is multiplied to give the logits."""
        weight = table if self.weight is None else self.weight
        assert weight is not None, "tied scores have a table of words"
        return Product(x, weight, self.bias)

    def draw(self, generator: torch.Generator) -> None:
        """First values as in the code of ELMo."""
        if self.weight is not None:
            self.weight.normal_(0.0, self.weight.shape[1] ** -0.5, generator=generator)
        if self.bias is not None:
            self.bias.zero_()


class LayerMix(nn.Module):
    """gamma * sum_j softmax(w)_j h_j (Peters et al. 2018, equation 1).

    Args:
        n_layers: that are mixed, the token vectors counted.
        norm: normalise each layer's vectors first. The authors' code takes mean and variance over the whole batch; here
            each token has its own, as in the paper that they cite, so that a text's vectors are its own.
    """

    def __init__(self, n_layers: int, norm: bool = False) -> None:
        super().__init__()
        self.norm = norm
        self.weights = nn.Parameter(torch.zeros(n_layers))
        self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, layers: Sequence[Float[Tensor, "B S D"]]) -> Float[Tensor, "B S D"]:
        """The mix of equally wide layers."""
        if self.norm:
            layers = [functional.layer_norm(layer, layer.shape[-1:], eps=1e-12) for layer in layers]
        shares = self.weights.softmax(0)
        return self.gamma * sum(share * layer for share, layer in zip(shares, layers, strict=True))

    def draw(self, generator: torch.Generator) -> None:
        """All layers alike."""
        self.weights.zero_()
        self.gamma.fill_(1.0)
