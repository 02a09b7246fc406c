"""The sum types of which an architecture is made: one class an alternative, only the fields that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Activation = Literal["relu", "gelu", "gelu_tanh", "gelu_sigmoid", "silu"]

# --- Which stacks there are ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoder:
    """One stack in which every position attends to every other (BERT)."""

    label: ClassVar[str] = "encoder-only"


@dataclass(frozen=True)
class Decoder:
    """One stack in which a position attends to itself and what precedes it (GPT)."""

    label: ClassVar[str] = "decoder-only"


@dataclass(frozen=True)
class EncoderDecoder:
    """Two stacks; the decoder also attends to the encoder's output (Vaswani et al. 2017, section 3.1).

    Args:
        n_decoder_layers: blocks of the decoder; as many as the encoder has where None.
    """

    label: ClassVar[str] = "encoder-decoder"
    n_decoder_layers: int | None = None


@dataclass(frozen=True)
class Permutation:
    """One stack that sees, of a permutation of the text, what precedes a position in it (Yang et al. 2019, XLNet).

    Without a permutation every position sees every other. A second stream of states, which know their own position but
    not their own token, serves prediction (section 2.3).
    """

    label: ClassVar[str] = "permutation"


Stacks = Encoder | Decoder | EncoderDecoder | Permutation

# --- Positions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Learned:
    """One trained vector a position, added to the token's (BERT, GPT-2); each of two stacks has its own table (BART).

    Args:
        max_positions: rows of the table.
        offset: rows that precede that of the first position (2 in RoBERTa, BART and OPT).
    """

    max_positions: int
    offset: int = 0


@dataclass(frozen=True)
class Sinusoidal:
    """Fixed sines and cosines, added to the token's vector (Vaswani et al. 2017, section 3.5).

    Args:
        layout: "interleaved" puts sine and cosine in alternating channels as in the paper's formula; "halves" puts all
            sines before all cosines as in the authors' tensor2tensor code and in Marian. They differ by a permutation.
    """

    layout: Literal["interleaved", "halves"] = "halves"


@dataclass(frozen=True)
class Rotary:
    """Queries and keys turned by an angle proportional to their position (Su et al. 2021, RoFormer, section 3.2.2).

    Args:
        base: wavelengths run from 2 pi to 2 pi * base.
        fraction: share of a head's channels, the first ones, that are turned (GLM-4: 0.5).
        layout: "halves" pairs channel i with i + width / 2; "interleaved" pairs neighbours, as in the paper. They
            differ by a permutation.
    """

    base: float = 10_000.0
    fraction: float = 1.0
    layout: Literal["interleaved", "halves"] = "halves"


@dataclass(frozen=True)
class RelativeBuckets:
    """A trained bias a head for each bucket of distances, shared by all blocks of a stack (Raffel et al. 2020, 2.1).

    Args:
        n_buckets: rows of the table, a stack; half of them for each direction in an encoder.
        max_distance: all longer distances share the last bucket.
    """

    n_buckets: int = 32
    max_distance: int = 128


@dataclass(frozen=True)
class Alibi:
    """Scores lowered in proportion to the distance, at a fixed slope a head (Press et al. 2022, section 3).

    Args:
        scaled: the bias is multiplied by the attention's scale too (Falcon's code).
    """

    scaled: bool = False


@dataclass(frozen=True)
class RelativeSinusoidal:
    """Scores that add, to content on content, content on a sinusoid of the distance (Dai et al. 2019, section 3.3).

    Args:
        segments: add content on whether two positions lie in one segment (Yang et al. 2019, section 2.5).
    """

    segments: bool = False


@dataclass(frozen=True)
class BlockPositions:
    """Two trained vectors: the place in the corrupted text, and the place inside a blank (Du et al. 2022, GLM, 2.3).

    Args:
        max_positions: rows of the table of places in the text.
        max_block: rows of the table of places inside a blank; the first stands for none.
    """

    max_positions: int
    max_block: int


Position = Learned | Sinusoidal | Rotary | RelativeBuckets | Alibi | RelativeSinusoidal | BlockPositions

# --- Normalisation ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerNorm:
    """Mean and variance over the channels, with a gain and an offset (Ba et al. 2016, section 3).

    Args:
        eps: added to the variance.
        gain: whether there are trained gains (OLMo has none).
        offset: whether there are trained offsets (PaLM and OLMo have none).
    """

    eps: float = 1e-5
    gain: bool = True
    offset: bool = True


@dataclass(frozen=True)
class RMSNorm:
    """Root mean square over the channels, with a gain (Zhang and Sennrich 2019, section 4)."""

    eps: float = 1e-6


Norm = LayerNorm | RMSNorm


@dataclass(frozen=True)
class PreNorm:
    """x + f(norm(x)), and one more norm after the last block (Xiong et al. 2020, section 3.1)."""


@dataclass(frozen=True)
class PostNorm:
    """norm(x + f(x)), as in the 2017 Transformer."""


@dataclass(frozen=True)
class Parallel:
    """x + attention(norm(x)) + feedforward(norm(x)), and one more norm after the last block (GPT-J, PaLM).

    Args:
        separate: each of the two has a norm of its own (Falcon 40B), rather than one together.
    """

    separate: bool = False


Placement = PreNorm | PostNorm | Parallel

# --- Attention and feed-forward --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Full:
    """A query sees every key that the stack's direction allows."""


@dataclass(frozen=True)
class SlidingWindow:
    """A query sees at most the `window` nearest keys, itself included (Beltagy et al. 2020; Mistral)."""

    window: int


@dataclass(frozen=True)
class Alternating:
    """Blocks take the patterns in turn (GPT-3: Brown et al. 2020, section 2.1, after Child et al. 2019).

    Args:
        patterns: that of the first block first.
    """

    patterns: tuple[Full | SlidingWindow, ...]


Pattern = Full | SlidingWindow | Alternating


@dataclass(frozen=True)
class Plain:
    """down(activation(up(x))) (Vaswani et al. 2017, section 3.3)."""

    activation: Activation = "relu"


@dataclass(frozen=True)
class Gated:
    """down(activation(gate(x)) * up(x)) (Shazeer 2020, GLU variants, equation 6)."""

    activation: Activation = "silu"


FeedForward = Plain | Gated


@dataclass(frozen=True)
class Experts:
    """Several feed-forward networks, of which a router chooses a few for each token (Shazeer et al. 2017, section 2).

    Args:
        n_experts: networks.
        n_active: of them run for a token.
        every: one block in so many has experts, the last of each group; the others have one network (GShard: 2).
        normalised: the chosen networks' probabilities are scaled to sum to 1 (Mixtral), rather than kept (Switch).
    """

    n_experts: int
    n_active: int
    every: int = 1
    normalised: bool = True


@dataclass(frozen=True)
class Bias:
    """Which linear maps of a block add an offset.

    Args:
        inputs: those of queries, keys and values.
        output: that of the attention's output.
        feedforward: those of the feed-forward network.
    """

    inputs: bool = True
    output: bool = True
    feedforward: bool = True


NO_BIAS = Bias(False, False, False)
