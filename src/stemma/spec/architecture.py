"""What a network is: one frozen value, checked as a whole when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from stemma.errors import SpecError
from stemma.spec.check import faults_of
from stemma.spec.parts import (
    Bias,
    Decoder,
    Dropout,
    Embedding,
    Encoder,
    EncoderDecoder,
    FeedForward,
    Full,
    Gated,
    Head,
    Initialisation,
    LanguageModelHead,
    LayerNorm,
    Learned,
    Norm,
    Normal,
    Pattern,
    Placement,
    Plain,
    Position,
    PostNorm,
    Stacks,
)

HeadKind = TypeVar("HeadKind", bound=Head)


def default_d_ff(d_model: int, feedforward: FeedForward) -> int:
    """The usual feed-forward width: 4 d_model, or 8/3 d_model rounded up to 256 where gated (LLaMA's code).

    >>> default_d_ff(4096, Gated()), default_d_ff(768, Plain())
    (11008, 3072)
    """
    if isinstance(feedforward, Gated):
        return -(-(8 * d_model // 3) // 256) * 256
    return 4 * d_model


_DERIVED = ("n_kv_heads", "d_head", "d_ff")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A language model's shape: sizes, and one alternative for each part.

    Args:
        n_layers: blocks; those of the encoder where there are two stacks.
        d_model: width of the residual stream.
        n_heads: attention heads.
        vocab_size: rows of the token embedding.
        n_kv_heads: heads of keys and values, each shared by n_heads / n_kv_heads query heads (Ainslie et al. 2023);
            n_heads where not given.
        d_head: width of a head; d_model / n_heads where not given.
        d_ff: inner width of the feed-forward network; see `default_d_ff`.
        attention_scale: factor on the scores; d_head ** -0.5 where None.

    Raises:
        SpecError: naming every rule that the values break.
    """

    n_layers: int
    d_model: int
    n_heads: int
    vocab_size: int
    n_kv_heads: int = 0
    d_head: int = 0
    d_ff: int = 0
    stacks: Stacks = Decoder()
    position: Position = Learned(1024)
    embedding: Embedding = Embedding()
    norm: Norm = LayerNorm()
    placement: Placement = PostNorm()
    attention: Pattern = Full()
    attention_scale: float | None = None
    feedforward: FeedForward = Plain()
    bias: Bias = Bias()
    heads: tuple[Head, ...] = (LanguageModelHead(),)
    dropout: Dropout = Dropout()
    initialisation: Initialisation = field(default_factory=Normal)

    def __post_init__(self) -> None:
        absent = frozenset(name for name in _DERIVED if getattr(self, name) == 0)
        sound = type(self.d_model) is int and type(self.n_heads) is int and self.d_model > 0 and self.n_heads > 0
        if sound:
            derived = {
                "n_kv_heads": self.n_heads,
                "d_head": self.d_model // self.n_heads,
                "d_ff": default_d_ff(self.d_model, self.feedforward),
            }
            for name in absent:
                object.__setattr__(self, name, derived[name])
        if self.stacks == EncoderDecoder():
            object.__setattr__(self, "stacks", EncoderDecoder(self.n_layers))
        if faults := faults_of(self, absent):
            raise SpecError("architecture", faults)

    @property
    def n_encoder_layers(self) -> int:
        """Blocks of the encoder; 0 where there is none."""
        return 0 if isinstance(self.stacks, Decoder) else self.n_layers

    @property
    def n_decoder_layers(self) -> int:
        """Blocks of the decoder; 0 where there is none."""
        if isinstance(self.stacks, EncoderDecoder):
            assert self.stacks.n_decoder_layers is not None, "filled when the architecture is made"
            return self.stacks.n_decoder_layers
        return 0 if isinstance(self.stacks, Encoder) else self.n_layers

    @property
    def kind(self) -> str:
        """ "encoder-only", "decoder-only" or "encoder-decoder"."""
        return self.stacks.label

    def head(self, kind: type[HeadKind]) -> HeadKind | None:
        """The head of this kind, or None."""
        return next((head for head in self.heads if isinstance(head, kind)), None)

    def change(self, **changes: Any) -> Architecture:
        """A copy with other fields; sizes that were derived are derived again from what is given.

        >>> Architecture(n_layers=1, d_model=64, n_heads=4, vocab_size=9).change(d_model=128).d_ff
        512
        """
        derived = _DERIVED if {"d_model", "n_heads"} & set(changes) else ()
        changes = {**dict.fromkeys(derived, 0), **changes}
        return replace(self, **changes)


FIELDS: Mapping[str, Any] = {entry.name: entry for entry in fields(Architecture)}
SIZE_FIELDS = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_head", "d_ff", "vocab_size")
