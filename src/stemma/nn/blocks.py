"""One block: attention, cross attention where there is an encoder, feed-forward; and where they are normalised."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.attention import Attention
from stemma.nn.cache import LayerCache
from stemma.nn.feedforward import FeedForward
from stemma.nn.masks import Scores
from stemma.nn.norms import Normalise
from stemma.nn.positions import Rotation
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Parallel, PostNorm


@dataclass(frozen=True)
class Surroundings:
    """What all blocks of a stack are given besides the residual stream.

    Args:
        scores: which keys are seen, in self-attention.
        turn: rotary angles.
        start: slots of the cache that are filled.
        memory_scores: which of the encoder's positions are seen.
        attentions: where maps are put, if they are asked for.
    """

    scores: Scores
    turn: Rotation | None = None
    start: int = 0
    memory_scores: Scores = Scores()
    attentions: list[Tensor] | None = None


class Block(nn.Module):
    """One layer of a stack.

    Args:
        spec: the architecture.
        crossing: whether it attends to an encoder's output too.
    """

    def __init__(self, spec: Architecture, crossing: bool) -> None:
        super().__init__()
        self.placement = spec.placement
        self.dropout = spec.dropout.residual
        self.attention = Attention(spec)
        self.attention_norm = Normalise(spec.norm, spec.d_model)
        if crossing:
            self.cross_attention = Attention(spec)
            self.cross_attention_norm = Normalise(spec.norm, spec.d_model)
        self.feedforward = FeedForward(spec)
        if not isinstance(spec.placement, Parallel):
            self.feedforward_norm = Normalise(spec.norm, spec.d_model)

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        around: Surroundings,
        cache: LayerCache | None = None,
        memory: LayerCache | None = None,
    ) -> Float[Tensor, "B S D"]:
        """The residual stream after this block.

        Args:
            x: the stream before it.
            around: what all blocks share.
            cache: keys and values of this block.
            memory: the encoder's keys and values for this block.
        """
        if isinstance(self.placement, Parallel):
            normed = self.attention_norm(x)
            return x + self._drop(self._attend(normed, around, cache) + self.feedforward(normed))
        if isinstance(self.placement, PostNorm):
            x = self.attention_norm(x + self._drop(self._attend(x, around, cache)))
            if memory is not None:
                x = self.cross_attention_norm(x + self._drop(self._look_up(x, around, memory)))
            return self.feedforward_norm(x + self._drop(self.feedforward(x)))
        x = x + self._drop(self._attend(self.attention_norm(x), around, cache))
        if memory is not None:
            x = x + self._drop(self._look_up(self.cross_attention_norm(x), around, memory))
        return x + self._drop(self.feedforward(self.feedforward_norm(x)))

    def _attend(self, x: Tensor, around: Surroundings, cache: LayerCache | None) -> Tensor:
        return self.attention(
            x, around.scores, turn=around.turn, cache=cache, start=around.start, attentions=around.attentions
        )

    def _look_up(self, x: Tensor, around: Surroundings, memory: LayerCache) -> Tensor:
        return self.cross_attention.look_up(x, memory, around.memory_scores, around.attentions)

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x
