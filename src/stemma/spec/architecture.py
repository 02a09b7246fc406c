"""What a network is: one frozen value, checked as a whole when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from stemma.errors import SpecError
from stemma.spec.check import faults_of
from stemma.spec.ends import Embedding, Head, LanguageModelHead, TaskModules, Vision
from stemma.spec.parts import (
    Alternating,
    Bias,
    BlockPositions,
    Decoder,
    EncoderDecoder,
    Experts,
    FeedForward,
    Full,
    Gated,
    LayerNorm,
    Learned,
    Norm,
    Pattern,
    Placement,
    Plain,
    Position,
    PostNorm,
    SlidingWindow,
    Stacks,
)
from stemma.spec.training import Dropout, Initialisation, Normal

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
        experts: of which a router chooses for each token; None for one feed-forward network a block.
        shared_layers: all blocks of a stack have the same parameters (ALBERT: Lan et al. 2020, section 3.1).
        top_query: the last block's query is made of the next position's own vector instead of the hidden state
            (PanGu-alpha: Zeng et al. 2021, section 2.2).
        vision: reads images, whose patches stand among the tokens.
        modules: small stacks for two kinds of tasks on the universal one.

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
    experts: Experts | None = None
    shared_layers: bool = False
    top_query: bool = False
    vision: Vision | None = None
    modules: TaskModules | None = None
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
        """Blocks of the encoder, or of the one stack that is no decoder; 0 where there is none."""
        return 0 if isinstance(self.stacks, Decoder) else self.n_layers

    @property
    def n_decoder_layers(self) -> int:
        """Blocks of the decoder; 0 where there is none."""
        if isinstance(self.stacks, EncoderDecoder):
            assert self.stacks.n_decoder_layers is not None, "filled when the architecture is made"
            return self.stacks.n_decoder_layers
        return self.n_layers if isinstance(self.stacks, Decoder) else 0

    @property
    def score_scale(self) -> float:
        """Factor on the products of queries and keys."""
        return self.d_head**-0.5 if self.attention_scale is None else self.attention_scale

    @property
    def d_embedding(self) -> int:
        """Width of the token embedding."""
        return self.embedding.width or self.embedding.early_width or self.d_model

    @property
    def d_hidden(self) -> int:
        """Width of the last hidden states."""
        return self.embedding.early_width or self.d_model

    @property
    def d_inputs(self) -> int:
        """Width in which tokens' vectors and those of their positions and segments are added."""
        return self.embedding.width or self.d_model

    @property
    def max_tokens(self) -> int | None:
        """Tokens of the longest text that positions reach to; None where they know no end."""
        match self.position:
            case Learned(max_positions=rows, offset=offset):
                return rows - offset
            case BlockPositions(max_positions=rows):
                return rows
            case _:
                return None

    @property
    def d_rotary(self) -> int:
        """Channels of a head that rotary positions turn; 0 where there are none."""
        return int(self.d_head * getattr(self.position, "fraction", 0.0))

    def window(self, layer: int) -> int | None:
        """How many of the nearest keys a block's queries see; None for all.

        >>> Architecture(n_layers=2, d_model=8, n_heads=2, vocab_size=9, attention=SlidingWindow(4)).window(1)
        4
        """
        pattern = self.attention
        if isinstance(pattern, Alternating):
            pattern = pattern.patterns[layer % len(pattern.patterns)]
        return pattern.window if isinstance(pattern, SlidingWindow) else None

    def has_experts(self, layer: int) -> bool:
        """Whether a block has experts in place of one feed-forward network."""
        return self.experts is not None and (layer + 1) % self.experts.every == 0

    @property
    def kind(self) -> str:
        """ "encoder-only", "decoder-only", "encoder-decoder" or "permutation"."""
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
