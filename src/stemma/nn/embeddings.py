"""From token ids to the residual stream."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.errors import Fault, InputError
from stemma.nn.norms import Normalise
from stemma.nn.positions import sinusoids
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Learned, Sinusoidal


class Table(nn.Embedding):
    """A vector for each id, whose first values are drawn by `initialise` alone."""

    def reset_parameters(self) -> None:
        """Nothing: see `stemma.nn.initialize`."""


class Embeddings(nn.Module):
    """Token vectors, plus position and segment vectors where the architecture has them.

    Args:
        spec: the architecture.
    """

    def __init__(self, spec: Architecture) -> None:
        super().__init__()
        self.position_spec = spec.position
        self.scale = spec.d_model**0.5 if spec.embedding.scaled else 1.0
        self.dropout = spec.dropout.residual
        self.token = Table(spec.vocab_size, spec.d_model)
        if isinstance(spec.position, Learned):
            self.position = Table(spec.position.max_positions, spec.d_model)
        if spec.embedding.segments:
            self.segment = Table(spec.embedding.segments, spec.d_model)
        self.norm = Normalise(spec.norm, spec.d_model) if spec.embedding.norm else None

    def forward(
        self,
        tokens: Int[Tensor, "B S"],
        positions: Int[Tensor, "rows S"],
        segments: Int[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B S D"]:
        """The first residual stream.

        Args:
            tokens: ids.
            positions: of each token in its text.
            segments: number of the segment of each token; the first one where not given.

        Raises:
            InputError: where segments are given and the architecture has none.
        """
        if segments is not None and not hasattr(self, "segment"):
            raise InputError("model", Fault("segments", tuple(segments.shape), "are not known here", "leave them out"))
        x = self.token(tokens)
        if self.scale != 1.0:
            x = x * self.scale
        if isinstance(self.position_spec, Learned):
            x = x + self.position(positions)
        elif isinstance(self.position_spec, Sinusoidal):
            x = x + sinusoids(self.position_spec, positions, x.shape[-1], x.dtype)
        if hasattr(self, "segment"):
            x = x + (self.segment.weight[0] if segments is None else self.segment(segments))
        if self.norm is not None:
            x = self.norm(x)
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x


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
    if isinstance(spec.position, Learned) and length > spec.position.max_positions:
        rule = f"exceeds max_positions={spec.position.max_positions}"
        raise InputError("model", Fault("length", length, rule, "shorten the text"))
