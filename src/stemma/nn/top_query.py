"""A last block that asks with positions: what comes next, whatever stands here?"""

from __future__ import annotations

from torch import Tensor

from stemma.nn.blocks import Block, Surroundings
from stemma.nn.cache import LayerCache
from stemma.nn.embeddings import Table
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Learned


class QueryBlock(Block):
    """The last block of PanGu-alpha: its queries are made of a vector for each next position (Zeng et al. 2021, 2.2).

    Keys and values are made of the residual stream, which also goes on past the attention, as in Huawei's code: there
    the stack's last norm comes before this block and none after it, and the queries' vectors are not normalised.

    Args:
        spec: the architecture.
        layer: its number in the stack.
    """

    def __init__(self, spec: Architecture, layer: int) -> None:
        super().__init__(spec, crossing=False, layer=layer)
        assert isinstance(spec.position, Learned), "a rule of every architecture"
        self.offset = spec.position.offset
        self.next_position = Table(spec.position.max_positions, spec.d_model)

    def _attend(self, x: Tensor, around: Surroundings, cache: LayerCache | None, past: Tensor | None = None) -> Tensor:
        assert around.positions is not None, "the stack knows them"
        assert past is None, "a decoder reads no other text's"
        asked = self.next_position(around.positions + self.offset).expand(len(x), -1, -1)
        return self.attention(
            asked,
            around.scores,
            read=x,
            virtual=around.virtual,
            cache=cache,
            start=around.start,
            attentions=around.attentions,
        )
