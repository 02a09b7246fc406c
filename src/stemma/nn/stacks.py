"""A stack of blocks: the encoder or the decoder."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.blocks import Block, Surroundings
from stemma.nn.cache import Cache, LookUp
from stemma.nn.experts import Routing
from stemma.nn.linears import Linear
from stemma.nn.masks import Mask, Relative, Scores
from stemma.nn.norms import Normalise
from stemma.nn.positions import RelativeBias, alibi, rotation
from stemma.nn.relative import distances
from stemma.nn.top_query import QueryBlock
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Alibi, EncoderDecoder, PostNorm, RelativeBuckets, RelativeSinusoidal, Rotary


@dataclass(frozen=True)
class Streams:
    """What stands beside a text in a network of two streams.

    Args:
        asking: how many positions at the end of the residual stream are a second stream: they stand where the text's
            last ones do, see the text's keys, and are seen by none.
        past: what each block reads before the text; of none where the text begins.
        segments: numbers of the segments of past and text; None where all is one.
    """

    asking: int = 0
    past: tuple[Tensor, ...] = ()
    segments: Tensor | None = None


_ALONE = Streams()


class Stack(nn.Module):
    """Blocks, what they share, and the last norm.

    Args:
        spec: the architecture.
        causal: whether it is the decoder.
    """

    def __init__(self, spec: Architecture, causal: bool) -> None:
        super().__init__()
        self.spec = spec
        crossing = causal and isinstance(spec.stacks, EncoderDecoder)
        self.n_layers = spec.n_decoder_layers if causal else spec.n_encoder_layers
        n_distinct = 1 if spec.shared_layers else self.n_layers
        self.blocks = nn.ModuleList(Block(spec, crossing, layer) for layer in range(n_distinct))
        if spec.top_query:
            self.blocks[-1] = QueryBlock(spec, n_distinct - 1)
        self.norm = None if isinstance(spec.placement, PostNorm) else Normalise(spec.norm, spec.d_model)
        narrow = spec.embedding.early_width
        self.narrowing = Linear(spec.d_model, narrow, bias=False) if narrow else None
        self.relative_bias = (
            RelativeBias(spec.position, spec.n_heads, bidirectional=not causal)
            if isinstance(spec.position, RelativeBuckets)
            else None
        )

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        positions: Int[Tensor, "*rows S"],
        mask: Mask,
        *,
        cache: Cache | None = None,
        memory: LookUp | None = None,
        virtual: Int[Tensor, "B S"] | None = None,
        streams: Streams = _ALONE,
        hiddens: list[Tensor] | None = None,
        attentions: list[Tensor] | None = None,
        routings: list[Routing] | None = None,
    ) -> Float[Tensor, "B S end"]:
        """The residual stream after the last block and norm.

        Args:
            x: embeddings.
            positions: of each token in its text.
            mask: which keys are seen.
            cache: keys and values of what was read before; appended.
            memory: the encoder's output, where there is an encoder.
            virtual: numbers of the virtual tokens, if there are any.
            streams: what stands beside the text.
            hiddens: where the input of each block, and the output, are put.
            attentions: where each block's attention map is put.
            routings: where the routing of each block with experts is put.
        """
        n_queries = x.shape[1] - streams.asking
        start = 0 if cache is None else cache.length
        n_keys = start + (streams.past[0].shape[1] if streams.past else 0) + n_queries
        position = self.spec.position
        turn = rotation(position, positions, self.spec.d_rotary, x.dtype) if isinstance(position, Rotary) else None
        relative = self._relative(x)

        def surroundings(window: int | None, first: int) -> Surroundings:
            seen_by, held = mask.without(first), n_keys - first
            between, blind = None, None
            if isinstance(position, RelativeSinusoidal):
                runs = (n_queries, streams.asking) if streams.asking else (n_queries,)
                ahead = not mask.causal or mask.prefix is not None
                between = distances(
                    self.spec, runs, held, ahead=ahead, like=x, segments=streams.segments, training=self.training
                )
                seen = seen_by.dense(n_queries, held, x.device, window)
                # No softmax may run over nothing: who sees nothing sees all, and is then given nothing.
                blind = ~seen.any(-1, keepdim=True) if streams.asking else None
                scores = Scores(seen if blind is None else seen | blind)
            else:
                scores = seen_by.scores(n_queries, held, x.device, relative, window)
            return Surroundings(
                scores=scores,
                positions=positions,
                turn=turn,
                distances=between,
                virtual=virtual,
                asking=streams.asking,
                blind=blind,
                start=start,
                memory_scores=Scores() if memory is None else memory.scores,
                attentions=attentions,
                routings=routings,
            )

        known: dict[tuple[int | None, int], Surroundings] = {}
        for layer, block in enumerate(self.in_order()):
            seeing = self.spec.window(layer), 0 if cache is None else cache.layers[layer].first
            if seeing not in known:
                known[seeing] = surroundings(*seeing)
            if isinstance(block, QueryBlock):
                x = self._end(x)
            if hiddens is not None:
                hiddens.append(x)
            x = block(
                x,
                known[seeing],
                None if cache is None else cache.layers[layer],
                None if memory is None else memory.layers[layer],
                streams.past[layer] if streams.past else None,
            )
        if cache is not None:
            cache.length += n_queries
        if not self.spec.top_query:
            x = self._end(x)
        if hiddens is not None:
            hiddens.append(x)
        return x

    def _end(self, x: Tensor) -> Tensor:
        """The stream as it leaves the blocks that are alike."""
        if self.norm is not None:
            x = self.norm(x)
        if self.narrowing is not None:
            x = self.narrowing(x)
        if self.spec.dropout.output:
            x = functional.dropout(x, self.spec.dropout.output, self.training)
        return x

    def in_order(self) -> list[Block]:
        """The blocks as they run; one that several layers share stands there as often."""
        return [self.blocks[layer % len(self.blocks)] for layer in range(self.n_layers)]  # type: ignore[misc]

    def _relative(self, like: Tensor) -> Relative | None:
        """What is added to the scores of every row alike."""
        if self.relative_bias is not None:
            return self.relative_bias
        position = self.spec.position
        if not isinstance(position, Alibi):
            return None
        scale = self.spec.score_scale if position.scaled else 1.0
        return lambda n_queries, n_keys: alibi(self.spec.n_heads, n_queries, n_keys, scale, like)
