"""From token ids to the residual stream."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.errors import Fault, InputError
from stemma.nn.linears import Linear
from stemma.nn.norms import Normalise
from stemma.nn.positions import sinusoids
from stemma.spec.architecture import Architecture
from stemma.spec.parts import BlockPositions, Learned, Sinusoidal

KINDS: Mapping[str, str] = MappingProxyType({"segments": "segment", "languages": "language", "tasks": "task"})
"""Kinds of ids beside the tokens', and the table of each."""

# What is not given means the first row, but that no language is spoken of (XLM's code).
_USUAL = {"segments": 0, "tasks": 0}


class Table(nn.Embedding):
    """A vector for each id, whose first values are drawn by `initialise` alone."""

    def reset_parameters(self) -> None:
        """Nothing: see `stemma.nn.initialize`."""


class Additions(nn.Module):
    """What happens to token vectors before the first block of a stack: what is added, the norm, the way to d_model.

    Args:
        spec: the architecture.
    """

    def __init__(self, spec: Architecture) -> None:
        super().__init__()
        self.spec = spec
        self.scale = spec.d_model**0.5 if spec.embedding.scaled else 1.0
        self.dropout = spec.dropout.residual
        width = spec.d_inputs
        if isinstance(spec.position, Learned | BlockPositions):
            self.position = Table(spec.position.max_positions, width)
        if isinstance(spec.position, BlockPositions):
            self.block_position = Table(spec.position.max_block, width)
        for kind, name in KINDS.items():
            if rows := getattr(spec.embedding, kind):
                self.add_module(name, Table(rows, width))
        self.norm = Normalise(spec.norm, width) if spec.embedding.norm else None
        if spec.embedding.width:
            self.widening = Linear(spec.embedding.width, spec.d_model)
        if spec.embedding.early_width:
            self.early_widening = Linear(spec.embedding.early_width, spec.d_model, bias=False)

    def add(
        self, x: Float[Tensor, "B S E"], positions: Int[Tensor, "*rows S"], kinds: Mapping[str, Tensor]
    ) -> Float[Tensor, "B S D"]:
        """The first residual stream.

        Args:
            x: token vectors.
            positions: of each token in its text; with `BlockPositions` two tables' rows, 2 B S.
            kinds: ids of other kinds, by their name in `KINDS`; `check_given` has refused those without a table.
        """
        if self.scale != 1.0:
            x = x * self.scale
        if self.spec.embedding.early_width:
            x = self.early_widening(x)
        position = self.spec.position
        if isinstance(position, Learned):
            x = x + self.position(positions + position.offset if position.offset else positions)
        elif isinstance(position, BlockPositions):
            x = x + self.position(positions[0]) + self.block_position(positions[1])
        elif isinstance(position, Sinusoidal):
            x = x + sinusoids(position, positions, x.shape[-1], x.dtype)
        for kind, name in KINDS.items():
            table = self._modules.get(name)
            if isinstance(table, Table):
                if kind in kinds:
                    x = x + table(kinds[kind])
                elif kind in _USUAL:
                    x = x + table.weight[_USUAL[kind]]
        if self.norm is not None:
            x = self.norm(x)
        if self.dropout:
            x = functional.dropout(x, self.dropout, self.training)
        return self.widening(x) if self.spec.embedding.width else x


class Embeddings(Additions):
    """Token vectors, and what is added to them.

    Args:
        spec: the architecture.
    """

    def __init__(self, spec: Architecture) -> None:
        super().__init__(spec)
        self.token = Table(spec.vocab_size, spec.d_embedding)

    def forward(
        self, tokens: Int[Tensor, "B S"], positions: Int[Tensor, "*rows S"], kinds: Mapping[str, Tensor] = {}
    ) -> Float[Tensor, "B S D"]:
        """The first residual stream of ids; see `Additions.add`."""
        return self.add(self.token(tokens), positions, kinds)


def check_ids(ids: Int[Tensor, "B S"], rows: int, field: str = "tokens") -> None:
    """See to it that every id has a row in its table.

    Args:
        ids: of tokens or segments.
        rows: of the table.
        field: what the ids are called.

    Raises:
        InputError: naming an id that has none.
    """
    lowest, highest = (int(bound) for bound in ids.aminmax())
    if lowest < 0 or highest >= rows:
        table = f"vocabulary of {rows}" if field == "tokens" else f"table of {rows} rows"
        strange = lowest if lowest < 0 else highest
        remedy = "use the tokenizer that belongs to the model"
        raise InputError("model", Fault(field, strange, f"lies outside the {table}", remedy))


def check_length(length: int, spec: Architecture) -> None:
    """See to it that learned positions reach as far as the input.

    Raises:
        InputError: where they do not.
    """
    longest = spec.max_tokens
    if longest is not None and length > longest:
        rule = f"exceeds the {longest} learned positions"
        raise InputError("model", Fault("length", length, rule, "shorten the text"))
