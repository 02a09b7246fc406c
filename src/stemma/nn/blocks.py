"""One block: attention, cross attention where there is an encoder, feed-forward; and where they are normalised."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.attention import Attention
from stemma.nn.cache import LayerCache
from stemma.nn.experts import Mixture, Routing
from stemma.nn.feedforward import FeedForward
from stemma.nn.masks import Scores
from stemma.nn.norms import Normalise
from stemma.nn.positions import Rotation
from stemma.nn.relative import Distances
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Parallel, PostNorm


@dataclass(frozen=True)
class Surroundings:
    """What all blocks of a stack are given besides the residual stream.

    Args:
        scores: which keys are seen, in self-attention.
        positions: of each token in its text.
        turn: rotary angles.
        distances: what relative attention reads of them.
        virtual: numbers of the virtual tokens among the keys that are new, if there are any.
        asking: how many of the last positions are seen by none.
        blind: True at queries that see nothing; None where there are none.
        start: slots of the cache that are filled.
        memory_scores: which of the encoder's positions are seen.
        attentions: where maps are put, if they are asked for.
        routings: where the experts' routings are put, if they are asked for.
    """

    scores: Scores
    positions: Tensor | None = None
    turn: Rotation | None = None
    distances: Distances | None = None
    virtual: Tensor | None = None
    asking: int = 0
    blind: Tensor | None = None
    start: int = 0
    memory_scores: Scores = Scores()
    attentions: list[Tensor] | None = None
    routings: list[Routing] | None = None


class Block(nn.Module):
    """One layer of a stack.

    Args:
        spec: the architecture.
        crossing: whether it attends to an encoder's output too.
        layer: its number in the stack.
    """

    def __init__(self, spec: Architecture, crossing: bool, layer: int = 0) -> None:
        super().__init__()
        self.placement = spec.placement
        self.dropout = spec.dropout.residual
        self.attention = Attention(spec)
        self.attention_norm = Normalise(spec.norm, spec.d_model)
        if crossing:
            self.cross_attention = Attention(spec, cross=True)
            self.cross_attention_norm = Normalise(spec.norm, spec.d_model)
        self.feedforward: FeedForward | Mixture = FeedForward(spec)
        if spec.experts is not None and spec.has_experts(layer):
            self.feedforward = Mixture(spec, spec.experts)
        if spec.placement != Parallel(separate=False):
            self.feedforward_norm = Normalise(spec.norm, spec.d_model)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        around: Surroundings,
        cache: LayerCache | None = None,
        memory: LayerCache | None = None,
        past: Float[Tensor, "B past D"] | None = None,
    ) -> Float[Tensor, "B S D"]:
        """The residual stream after this block.

        Args:
            x: the stream before it.
            around: what all blocks share.
            cache: keys and values of this block.
            memory: the encoder's keys and values for this block.
            past: the stream before this text, which is read too.
        """
        if isinstance(self.placement, Parallel):
            normed = self.attention_norm(x)
            also = self.feedforward_norm(x) if self.placement.separate else normed
            return x + self._drop(self._attend(normed, around, cache) + self._feed(also, around))
        if isinstance(self.placement, PostNorm):
            x = self.attention_norm(x + self._drop(self._attend(x, around, cache, past)))
            if memory is not None:
                x = self.cross_attention_norm(x + self._drop(self._look_up(x, around, memory)))
            return self.feedforward_norm(x + self._drop(self._feed(x, around)))
        past = None if past is None else self.attention_norm(past)
        x = x + self._drop(self._attend(self.attention_norm(x), around, cache, past))
        if memory is not None:
            x = x + self._drop(self._look_up(self.cross_attention_norm(x), around, memory))
        return x + self._drop(self._feed(self.feedforward_norm(x), around))

    def _attend(self, x: Tensor, around: Surroundings, cache: LayerCache | None, past: Tensor | None = None) -> Tensor:
        read = x[:, : -around.asking] if around.asking else x
        if past is not None:
            read = torch.cat((past, read), 1)
        attended = self.attention(
            x,
            around.scores,
            turn=around.turn,
            distances=around.distances,
            read=None if read is x else read,
            virtual=around.virtual,
            cache=cache,
            start=around.start,
            attentions=around.attentions,
        )
        if around.blind is None:
            return attended
        if around.attentions is not None:
            around.attentions[-1] = around.attentions[-1].masked_fill(around.blind, 0.0)
        return attended.masked_fill(around.blind[:, 0], 0.0)

    def _look_up(self, x: Tensor, around: Surroundings, memory: LayerCache) -> Tensor:
        return self.cross_attention.look_up(x, memory, around.memory_scores, around.attentions)

    def _feed(self, x: Tensor, around: Surroundings) -> Tensor:
        if isinstance(self.feedforward, Mixture):
            return self.feedforward(x, around.routings)
        return self.feedforward(x)

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x
