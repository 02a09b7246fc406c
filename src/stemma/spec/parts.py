"""The sum types of which an architecture is made: one class an alternative, only the fields that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]
ACTIVATIONS: tuple[Activation, ...] = ("relu", "gelu", "gelu_tanh", "silu")

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


Stacks = Encoder | Decoder | EncoderDecoder

# --- Positions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Learned:
    """One trained vector a position, added to the token's (BERT, GPT-2).

    Args:
        max_positions: rows of the table.
    """

    max_positions: int


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
    """

    base: float = 10_000.0


@dataclass(frozen=True)
class RelativeBuckets:
    """A trained bias a head for each bucket of distances, shared by all blocks of a stack (Raffel et al. 2020, 2.1).

    Args:
        n_buckets: rows of the table, a stack; half of them for each direction in an encoder.
        max_distance: all longer distances share the last bucket.
    """

    n_buckets: int = 32
    max_distance: int = 128


Position = Learned | Sinusoidal | Rotary | RelativeBuckets

# --- Normalisation ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerNorm:
    """Mean and variance over the channels, with a gain and an offset (Ba et al. 2016, section 3)."""

    eps: float = 1e-5


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
    """x + attention(norm(x)) + feedforward(norm(x)) one norm a block, one more after the last (GPT-J, PaLM)."""


Placement = PreNorm | PostNorm | Parallel

# --- Attention and feed-forward --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Full:
    """A query sees every key that the stack's direction allows."""


@dataclass(frozen=True)
class SlidingWindow:
    """A query sees at most the `window` nearest keys, itself included (Beltagy et al. 2020; Mistral)."""

    window: int


Pattern = Full | SlidingWindow


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

# --- Embeddings and heads --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Embedding:
    """What happens to a token's vector before the first block, besides its position.

    Args:
        segments: rows of the table of segment vectors; 0 for none (BERT has 2).
        norm: normalise the sum (BERT).
        scaled: multiply the token's vector by sqrt(d_model) (Vaswani et al. 2017, section 3.4).
    """

    segments: int = 0
    norm: bool = False
    scaled: bool = False


@dataclass(frozen=True)
class LanguageModelHead:
    """Scores of the vocabulary for the next token.

    Args:
        tied: the projection is the embedding table itself (Press and Wolf 2017).
        bias: add an offset a word.
        scaled: multiply the hidden state by d_model ** -0.5 first (T5 1.0).
    """

    name: ClassVar[str] = "lm"
    tied: bool = True
    bias: bool = False
    scaled: bool = False


@dataclass(frozen=True)
class MaskedLMHead:
    """Dense layer, activation, norm, then scores of the vocabulary with an offset (Devlin et al. 2019, appendix A).

    Args:
        activation: that of the dense layer.
        tied: the projection is the embedding table itself.
    """

    name: ClassVar[str] = "mlm"
    activation: Activation = "gelu"
    tied: bool = True


@dataclass(frozen=True)
class Pooler:
    """Dense layer and tanh on the first position's vector (Devlin et al. 2019)."""

    name: ClassVar[str] = "pooler"


@dataclass(frozen=True)
class NextSentenceHead:
    """Two scores from the pooled vector: is the second segment the next one? (Devlin et al. 2019, section 3.1)."""

    name: ClassVar[str] = "nsp"


Head = LanguageModelHead | MaskedLMHead | Pooler | NextSentenceHead

# --- Training only ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dropout:
    """Rates of dropout while training (Srivastava et al. 2014).

    Args:
        residual: on the embeddings and on each sub-layer's output.
        attention: on the attention probabilities.
        feedforward: between the two maps of the feed-forward network.
        output: on the output of a stack (T5).
    """

    residual: float = 0.0
    attention: float = 0.0
    feedforward: float = 0.0
    output: float = 0.0


@dataclass(frozen=True)
class Normal:
    """Weights from N(0, std), offsets zero (BERT, GPT-2).

    Args:
        std: the deviation.
        truncated: draw again what lies beyond two deviations (BERT).
        shrink_residual: divide the deviation of each map that ends a sub-layer by sqrt(2 * n_layers) (GPT-2, 2.3).
    """

    std: float = 0.02
    truncated: bool = False
    shrink_residual: bool = False


@dataclass(frozen=True)
class XavierUniform:
    """Uniform with variance 2 / (fan in + fan out); embeddings N(0, d_model ** -0.5) (tensor2tensor)."""


@dataclass(frozen=True)
class FanIn:
    """Normal with variance 1 / fan in, queries 1 / (d_model * d_head), embeddings N(0, 1) (T5, Mesh TensorFlow)."""


Initialisation = Normal | XavierUniform | FanIn
