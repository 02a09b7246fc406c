"""The decoder beside which CoVe's encoder learnt."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from stemma.nn.heads import Product
from stemma.nn.lstm import LSTMLayer, State


class AttentiveDecoder(nn.Module):
    """Two LSTM layers that look up an encoder's states (McCann et al. 2017, section 3, equations 2 to 5).

    Of each token z and what was found for the one before: h_t = LSTM([z_t; f_{t-1}]), a_t = softmax(H (W1 h_t + b1)),
    f_t = tanh(W2 [H^T a_t; h_t] + b2), p = softmax(W f_t + b). In equation 4 the brackets stand otherwise; here they
    stand as in Luong et al. 2015, equation 5, which it cites.

    Args:
        vocab_size: of the target language.
        d_embedding: width of its tokens' vectors.
        d_memory: width of the encoder's states.
        width: of the layers.
        seed: of the first parameters.
    """

    def __init__(self, vocab_size: int, d_embedding: int, d_memory: int, width: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(vocab_size, d_embedding)
            self.query = nn.Linear(width, d_memory)
            self.combining = nn.Linear(d_memory + width, width)
            self.scores = nn.Linear(width, vocab_size)
        layers = [LSTMLayer(d_embedding + width, width), LSTMLayer(width, width)]
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in layers:
                layer.draw(generator)
        self.layers = nn.ModuleList(layers)

    def forward(
        self, tokens: Int[Tensor, "B T"], memory: Float[Tensor, "B S M"], mask: Bool[Tensor, "B S"] | None = None
    ) -> Float[Tensor, "B T W"]:
        """What the scores of the token after each are made of.

        Args:
            tokens: of the target, from the start token on.
            memory: the encoder's states.
            mask: True where they are of a real token; all are where not given.
        """
        vectors = self.embedding(tokens)
        states: list[State | None] = [None] * len(self.layers)
        found = memory.new_zeros(len(tokens), self.scores.in_features)
        given = []
        for step in range(tokens.shape[1]):
            x = torch.cat((vectors[:, step], found), -1)[:, None]
            for number, layer in enumerate(self.layers):
                x, states[number] = layer(x, None, states[number])
            weights = memory @ self.query(x[:, 0])[..., None]
            if mask is not None:
                weights = weights.masked_fill(~mask[..., None], -torch.inf)
            seen = (weights.softmax(1) * memory).sum(1)
            found = torch.tanh(self.combining(torch.cat((seen, x[:, 0]), -1)))
            given.append(found)
        return torch.stack(given, 1)

    def product(self, hidden: Float[Tensor, "n W"]) -> Product:
        """What is multiplied to give the logits."""
        return Product(hidden, self.scores.weight, self.scores.bias)
