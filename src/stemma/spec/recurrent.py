"""What a recurrent network is: the ancestors of the tree, from before attention was all that was needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from stemma.errors import SpecError
from stemma.spec.check import type_faults
from stemma.spec.recurrent_parts import (
    LSTM,
    Apart,
    Cell,
    Characters,
    Directions,
    Forward,
    Joined,
    ProjectedLSTM,
    RecurrentDropout,
    RecurrentHead,
    ScalarMix,
    Scores,
    TiedScores,
    Tokens,
    Vectors,
    Words,
)
from stemma.spec.recurrent_rules import rule_faults

HeadKind = TypeVar("HeadKind", bound=RecurrentHead)


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """The shape of a recurrent network.

    Args:
        tokens: what is read.
        widths: of the cells of each layer, the first layer first.
        cell: what a layer is made of.
        directions: in which order the tokens are read.
        heads: what reads the layers.
        dropout: rates while training.

    Raises:
        SpecError: naming every rule that the values break.
    """

    label: ClassVar[str] = "recurrent"

    tokens: Tokens
    widths: tuple[int, ...]
    cell: Cell = LSTM()
    directions: Directions = Forward()
    heads: tuple[RecurrentHead, ...] = ()
    dropout: RecurrentDropout = RecurrentDropout()

    def __post_init__(self) -> None:
        if faults := [*type_faults(self)] or [*rule_faults(self)]:
            raise SpecError("recurrent", faults)

    @property
    def kind(self) -> str:
        """ "recurrent"."""
        return self.label

    @property
    def n_layers(self) -> int:
        """Recurrent layers."""
        return len(self.widths)

    @property
    def n_directions(self) -> int:
        """1 or 2."""
        return 1 if isinstance(self.directions, Forward) else 2

    @property
    def outputs(self) -> tuple[int, ...]:
        """Width of what each layer gives in one direction."""
        return tuple(self.cell.d_projection if isinstance(self.cell, ProjectedLSTM) else width for width in self.widths)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Width of what each layer reads in one direction."""
        joined = 2 if isinstance(self.directions, Joined) else 1
        return (self.tokens.d_embedding, *(joined * width for width in self.outputs[:-1]))

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Width of what each layer gives, that of the tokens first: twice theirs where two networks read them."""
        apart = 2 if isinstance(self.directions, Apart) else 1
        return (apart * self.tokens.d_embedding, *(self.n_directions * width for width in self.outputs))

    @property
    def vocab_size(self) -> int:
        """Words that are scored, or else words that are read; 0 where neither is fixed."""
        source = self.head(Scores) or self.tokens
        return source.vocab_size if isinstance(source, Scores | Words) else 0

    def head(self, kind: type[HeadKind]) -> HeadKind | None:
        """The head of this kind, or None."""
        return next((head for head in self.heads if isinstance(head, kind)), None)

    def change(self, **changes: Any) -> Recurrent:
        """A copy with other fields."""
        return replace(self, **changes)


def parameter_table(spec: Recurrent) -> Mapping[str, int]:
    """The parameters by the part that holds them.

    A layer has four gates, each with a weight for every input, one for every output of the step before and its
    offsets: two a gate in torch, one in TensorFlow, whose projection has none.
    """
    return {
        "embeddings": _embedding_parameters(spec.tokens),
        "layers": spec.n_directions * sum(_cell_parameters(spec.cell, *sizes) for sizes in _cells(spec)),
        "heads": sum(_head_parameters(spec, head) for head in spec.heads),
    }


def forward_flops(spec: Recurrent, tokens: int) -> int:
    """Operations of one text's forward pass: matrix products, 2 for each multiply-add; each token costs the same.

    Args:
        spec: what runs.
        tokens: that are computed.
    """
    cells = sum(_cell_weights(spec.cell, *sizes) for sizes in _cells(spec))
    scored = spec.n_directions * spec.outputs[-1] * spec.vocab_size
    scores = scored if spec.head(TiedScores) or spec.head(Scores) else 0
    return 2 * tokens * (_spelling_products(spec.tokens) + spec.n_directions * cells + scores)


def state_numbers(spec: Recurrent) -> int:
    """Numbers that one text's state holds, however long the text: the output and the cell of every layer."""
    return spec.n_directions * sum(output + width for _, width, output in _cells(spec))


def _cells(spec: Recurrent) -> Iterator[tuple[int, int, int]]:
    """Input, cell and output of each layer in one direction."""
    return zip(spec.inputs, spec.widths, spec.outputs, strict=True)


def _cell_weights(cell: Cell, d_input: int, width: int, d_output: int) -> int:
    return 4 * width * (d_input + d_output) + (width * d_output if isinstance(cell, ProjectedLSTM) else 0)


def _cell_parameters(cell: Cell, d_input: int, width: int, d_output: int) -> int:
    offsets = 4 * width * (1 if isinstance(cell, ProjectedLSTM) else 2)
    return _cell_weights(cell, d_input, width, d_output) + offsets


def _embedding_parameters(tokens: Tokens) -> int:
    match tokens:
        case Vectors():
            return 0
        case Words():
            return tokens.vocab_size * tokens.d_embedding
        case Characters(n_filters=n_filters):
            table = (tokens.n_characters - 1) * tokens.d_character
            filters = sum((width * tokens.d_character + 1) * channels for width, channels in tokens.filters)
            highways = tokens.n_highway * 2 * (n_filters + 1) * n_filters
            return table + filters + highways + (n_filters + 1) * tokens.d_embedding


def _spelling_products(tokens: Tokens) -> int:
    """Multiply-adds that make one token's vector."""
    if not isinstance(tokens, Characters):
        return 0
    places = ((tokens.max_characters - width + 1, width, channels) for width, channels in tokens.filters)
    filters = sum(place * width * tokens.d_character * channels for place, width, channels in places)
    return filters + tokens.n_filters * (tokens.n_highway * 2 * tokens.n_filters + tokens.d_embedding)


def _head_parameters(spec: Recurrent, head: RecurrentHead) -> int:
    match head:
        case TiedScores(bias=bias):
            return bias * spec.vocab_size
        case Scores(vocab_size=vocab_size, bias=bias):
            return vocab_size * (spec.outputs[-1] + bias)
        case ScalarMix():
            return spec.n_layers + 1 + 1
        case _:
            return head.weights(spec.outputs[-1]) + head.offsets(spec.outputs[-1])
