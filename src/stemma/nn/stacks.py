"""A stack of blocks: the encoder or the decoder."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.blocks import Block, Surroundings
from stemma.nn.cache import Cache, LookUp
from stemma.nn.masks import Mask, Scores
from stemma.nn.norms import Normalise
from stemma.nn.positions import RelativeBias, rotation
from stemma.spec.architecture import Architecture
from stemma.spec.parts import EncoderDecoder, PostNorm, RelativeBuckets, Rotary


class Stack(nn.Module):
    """Equal blocks, what they share, and the last norm.

    Args:
        spec: the architecture.
        causal: whether it is the decoder.
    """

    def __init__(self, spec: Architecture, causal: bool) -> None:
        super().__init__()
        self.spec = spec
        crossing = causal and isinstance(spec.stacks, EncoderDecoder)
        n_layers = spec.n_decoder_layers if causal else spec.n_encoder_layers
        self.blocks = nn.ModuleList(Block(spec, crossing) for _ in range(n_layers))
        self.norm = None if isinstance(spec.placement, PostNorm) else Normalise(spec.norm, spec.d_model)
        self.relative_bias = (
            RelativeBias(spec.position, spec.n_heads, bidirectional=not causal)
            if isinstance(spec.position, RelativeBuckets)
            else None
        )

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        positions: Int[Tensor, "rows S"],
        mask: Mask,
        *,
        cache: Cache | None = None,
        memory: LookUp | None = None,
        hiddens: list[Tensor] | None = None,
        attentions: list[Tensor] | None = None,
    ) -> Float[Tensor, "B S D"]:
        """The residual stream after the last block and norm.

        Args:
            x: embeddings.
            positions: of each token in its text.
            mask: which keys are seen.
            cache: keys and values of what was read before; appended.
            memory: the encoder's output, where there is an encoder.
            hiddens: where the input of each block, and the output, are put.
            attentions: where each block's attention map is put.
        """
        n_queries = x.shape[1]
        start = 0 if cache is None else cache.length
        relative = None if self.relative_bias is None else self.relative_bias(n_queries, start + n_queries)
        position = self.spec.position
        around = Surroundings(
            scores=mask.scores(n_queries, start + n_queries, x.device, relative),
            turn=rotation(position, positions, self.spec.d_head, x.dtype) if isinstance(position, Rotary) else None,
            start=start,
            memory_scores=Scores() if memory is None else memory.scores,
            attentions=attentions,
        )
        for index, block in enumerate(self.blocks):
            if hiddens is not None:
                hiddens.append(x)
            own = None if cache is None else cache.layers[index]
            x = block(x, around, own, None if memory is None else memory.layers[index])
        if cache is not None:
            cache.length += n_queries
        if self.norm is not None:
            x = self.norm(x)
        if self.spec.dropout.output:
            x = functional.dropout(x, self.spec.dropout.output, self.training)
        if hiddens is not None:
            hiddens.append(x)
        return x
