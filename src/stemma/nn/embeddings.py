"""From token ids to the residual stream."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
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


class Exchange(nn.Module):
    """Where adaptations exchange what stands at virtual tokens; by itself it leaves all as it is."""

    @property
    def idle(self) -> bool:
        """Whether no adaptation does."""
        return not self._forward_hooks

    def forward(self, virtual: Int[Tensor, "B T"], x: Float[Tensor, "B T *any"]) -> Float[Tensor, "B T *any"]:
        """What stands at each position then.

        Args:
            virtual: the number of the virtual token at each position; negative where there is none.
            x: what stands there.
        """
        return x


class Embeddings(Additions):
    """Token vectors, and what is added to them.

    Ids just above the vocabulary are virtual tokens: adaptations give them vectors, or keys and values.

    Args:
        spec: the architecture.
    """

    n_virtual = 0
    """How many virtual tokens there are."""

    silent: tuple[range, ...] = ()
    """Ids of those which have keys and values alone: what else is computed at them means nothing."""

    def __init__(self, spec: Architecture) -> None:
        super().__init__(spec)
        self.token = Table(spec.vocab_size, spec.d_embedding)
        self.prompt = Exchange()

    def forward(
        self, tokens: Int[Tensor, "B S"], positions: Int[Tensor, "*rows S"], kinds: Mapping[str, Tensor] = {}
    ) -> tuple[Float[Tensor, "B S D"], Int[Tensor, "B S"] | None]:
        """The first residual stream of ids, and their virtual tokens; see `Additions.add` and `vectors`."""
        x, virtual = self.vectors(tokens)
        return self.add(x, positions, kinds), virtual

    def vectors(self, tokens: Int[Tensor, "B S"]) -> tuple[Float[Tensor, "B S E"], Int[Tensor, "B S"] | None]:
        """A vector for each token, and the numbers of the virtual ones (see `Exchange`); None where there are none.

        Raises:
            InputError: where an id has no vector.
        """
        rows = self.token.num_embeddings
        known = readable(tokens)
        highest = check_ids(tokens, rows + self.n_virtual) if known else rows
        if not self.n_virtual or highest < rows:
            return self.token(tokens), None
        virtual = tokens - rows
        return self.prompt(virtual, self.token(tokens.masked_fill(virtual >= 0, 0))), virtual

    def spoken(self, tokens: Int[Tensor, "B S"], mask: Bool[Tensor, "B S"] | None) -> Bool[Tensor, "B S"] | None:
        """True where a token is real and not silent; None where all are.

        Args:
            tokens: ids.
            mask: True where a token is real; all are where None.
        """
        for ids in self.silent:
            loud = (tokens < ids.start) | (tokens >= ids.stop)
            mask = loud if mask is None else mask & loud
        return mask


def readable(ids: Tensor) -> bool:
    """Whether ids have values that can be looked at here."""
    return not torch.compiler.is_compiling() and ids.device.type != "meta" and ids.numel() > 0


def check_ids(ids: Int[Tensor, "B S"], rows: int, field: str = "tokens") -> int:
    """The highest id, if every one has a row in its table.

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
    return highest


def check_length(length: int, spec: Architecture) -> None:
    """See to it that learned positions reach as far as the input.

    Raises:
        InputError: where they do not.
    """
    longest = spec.max_tokens
    if longest is not None and length > longest:
        rule = f"exceeds the {longest} learned positions"
        raise InputError("model", Fault("length", length, rule, "shorten the text"))
