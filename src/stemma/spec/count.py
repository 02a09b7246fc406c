"""What an architecture costs, by arithmetic alone: parameters, floating-point operations and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stemma.errors import Fault, InputError
from stemma.spec.architecture import Architecture
from stemma.spec.parts import (
    Encoder,
    EncoderDecoder,
    Gated,
    Head,
    LanguageModelHead,
    LayerNorm,
    Learned,
    MaskedLMHead,
    NextSentenceHead,
    Parallel,
    Pooler,
    PostNorm,
    RelativeBuckets,
    SlidingWindow,
)

Lengths = int | tuple[int, int]
"""Tokens of one sequence; (source, target) where there are two stacks."""

BYTES: Mapping[str, int] = MappingProxyType({"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1})


def parameters(architecture: Architecture) -> int:
    """How many numbers are learned; a tied projection counts once, fixed positions not at all.

    >>> from stemma.spec.parts import PreNorm
    >>> parameters(Architecture(n_layers=12, d_model=768, n_heads=12, vocab_size=50_257, placement=PreNorm()))
    124439808
    """
    return sum(parameter_table(architecture).values())


def parameter_table(architecture: Architecture) -> Mapping[str, int]:
    """The parameters by the part that holds them.

    A block has d_model * d_head * (2 n_heads + 2 n_kv_heads) weights in each attention and 2 d_model * d_ff in its
    feed-forward network, 3 where it is gated (Kaplan et al. 2020, table 1, with grouped and gated maps added), and
    beside these the offsets and norms, which Kaplan et al. leave out.
    """
    d_model, n_stacks = architecture.d_model, 1 + isinstance(architecture.stacks, EncoderDecoder)
    n_blocks = architecture.n_encoder_layers + architecture.n_decoder_layers
    match architecture.position:
        case Learned(max_positions=rows):
            positions = rows * d_model
        case RelativeBuckets(n_buckets=rows):
            positions = n_stacks * rows * architecture.n_heads
        case _:
            positions = 0
    attention = _query_weights(architecture) + _key_weights(architecture) + _attention_offsets(architecture)
    feedforward = _feedforward_weights(architecture) + _feedforward_offsets(architecture)
    norms = n_blocks * (1 if isinstance(architecture.placement, Parallel) else 2) + _n_cross_layers(architecture)
    norms += 0 if isinstance(architecture.placement, PostNorm) else n_stacks
    return {
        "embeddings": (architecture.vocab_size + architecture.embedding.segments) * d_model,
        "positions": positions,
        "attention": n_blocks * attention,
        "cross_attention": _n_cross_layers(architecture) * attention,
        "feedforward": n_blocks * feedforward,
        "norms": (norms + architecture.embedding.norm) * _norm_parameters(architecture),
        "heads": sum(_head_parameters(architecture, head) for head in architecture.heads),
    }


def forward_flops(architecture: Architecture, tokens: Lengths, *, context: Lengths | None = None) -> int:
    """Operations of one sequence's forward pass: matrix products and attention scores, 2 for each multiply-add.

    A token costs twice the weights that it meets (Kaplan et al. 2020, section 2.1), and in each attention
    4 * n_heads * d_head for every key, half for its score and half for its value (Hoffmann et al. 2022, appendix F).
    Keys that a causal mask hides count, those beyond a window do not. The output projection counts at every position;
    embeddings, norms, softmax and activations do not count.

    Args:
        architecture: what runs.
        tokens: that are computed.
        context: all tokens that can be attended to, those computed among them; as many as `tokens` where None. For a
            step on a cache of n - 1 tokens, tokens=1 and context=n; with two stacks (0, 1) and (source, n).

    Raises:
        InputError: for lengths that the architecture cannot take.
    """
    source, target = _lengths(architecture, "tokens", tokens)
    sources, targets = (source, target) if context is None else _lengths(architecture, "context", context)
    if sources < source or targets < target:
        rule = f"must hold the tokens computed, {tokens}"
        raise InputError("forward_flops", Fault("context", context, rule, "leave it out where nothing is cached"))
    maps = 2 * (_query_weights(architecture) + _key_weights(architecture) + _feedforward_weights(architecture))
    key = 4 * architecture.n_heads * architecture.d_head
    encoder = source * (maps + key * _visible(architecture, sources))
    decoder = target * (maps + key * _visible(architecture, targets))
    cross = 2 * (target * _query_weights(architecture) + source * _key_weights(architecture)) + key * target * sources
    read = source if isinstance(architecture.stacks, Encoder) else target
    return (
        architecture.n_encoder_layers * encoder
        + architecture.n_decoder_layers * decoder
        + _n_cross_layers(architecture) * cross
        + sum(_head_flops(architecture, head, read) for head in architecture.heads)
    )


def training_flops(architecture: Architecture, tokens: Lengths) -> int:
    """Operations of one sequence's training step: backwards costs twice forwards (Hoffmann et al. 2022, appendix F)."""
    return 3 * forward_flops(architecture, tokens)


def weight_bytes(architecture: Architecture, dtype: str) -> int:
    """Bytes of the parameters, all held as `dtype`, such as "bfloat16".

    Raises:
        InputError: for a dtype that is not in `BYTES`.
    """
    return parameters(architecture) * _bytes(dtype)


def cache_bytes(architecture: Architecture, tokens: Lengths, dtype: str) -> int:
    """Bytes of one sequence's keys and values: 2 * n_layers * n_kv_heads * d_head for each token that is still seen.

    A window bounds the tokens kept; cross attention keeps the whole source; an encoder alone keeps nothing. The
    formula is that of Shazeer 2019, section 2.4, with the groups of Ainslie et al. 2023, section 2.2.

    Args:
        architecture: what generates.
        tokens: prompt and answer together; with two stacks the source's and the answer's.
        dtype: that they are held as.

    Raises:
        InputError: for lengths or a dtype that cannot be.
    """
    source, target = _lengths(architecture, "tokens", tokens)
    kept = _visible(architecture, target) + source
    return 2 * architecture.n_decoder_layers * architecture.n_kv_heads * architecture.d_head * kept * _bytes(dtype)


def _n_cross_layers(architecture: Architecture) -> int:
    return architecture.n_decoder_layers if architecture.n_encoder_layers else 0


def _query_weights(architecture: Architecture) -> int:
    """Those of the queries and of the output: what runs on the tokens that attend."""
    return 2 * architecture.d_model * architecture.n_heads * architecture.d_head


def _key_weights(architecture: Architecture) -> int:
    """Those of the keys and values: what runs on the tokens attended to."""
    return 2 * architecture.d_model * architecture.n_kv_heads * architecture.d_head


def _attention_offsets(architecture: Architecture) -> int:
    inputs = (architecture.n_heads + 2 * architecture.n_kv_heads) * architecture.d_head
    return architecture.bias.inputs * inputs + architecture.bias.output * architecture.d_model


def _n_inner(architecture: Architecture) -> int:
    return 2 if isinstance(architecture.feedforward, Gated) else 1


def _feedforward_weights(architecture: Architecture) -> int:
    return (_n_inner(architecture) + 1) * architecture.d_model * architecture.d_ff


def _feedforward_offsets(architecture: Architecture) -> int:
    return architecture.bias.feedforward * (_n_inner(architecture) * architecture.d_ff + architecture.d_model)


def _norm_parameters(architecture: Architecture) -> int:
    return architecture.d_model * (2 if isinstance(architecture.norm, LayerNorm) else 1)


def _head_parameters(architecture: Architecture, head: Head) -> int:
    d_model, vocab_size = architecture.d_model, architecture.vocab_size
    match head:
        case LanguageModelHead():
            return (not head.tied) * d_model * vocab_size + head.bias * vocab_size
        case MaskedLMHead():
            dense = d_model * d_model + d_model + _norm_parameters(architecture)
            return dense + (not head.tied) * d_model * vocab_size + vocab_size
        case Pooler():
            return d_model * d_model + d_model
        case NextSentenceHead():
            return 2 * d_model + 2


def _head_flops(architecture: Architecture, head: Head, tokens: int) -> int:
    d_model, vocab_size = architecture.d_model, architecture.vocab_size
    match head:
        case LanguageModelHead():
            return 2 * tokens * d_model * vocab_size
        case MaskedLMHead():
            return 2 * tokens * d_model * (d_model + vocab_size)
        case Pooler():
            return 2 * d_model * d_model
        case NextSentenceHead():
            return 2 * d_model * 2


def _visible(architecture: Architecture, tokens: int) -> int:
    return min(tokens, architecture.attention.window) if isinstance(architecture.attention, SlidingWindow) else tokens


def _lengths(architecture: Architecture, name: str, given: Lengths) -> tuple[int, int]:
    """Source and target; 0 for the stack that there is not."""
    pair = isinstance(architecture.stacks, EncoderDecoder)
    parts = given if isinstance(given, tuple) else (given,)
    if len(parts) != 1 + pair or any(not isinstance(part, int) or part < 0 for part in parts):
        rule = "must be (source, target), two lengths in tokens" if pair else "must be one length in tokens"
        remedy = f"write {name}=(128, 32)" if pair else f"write {name}=128"
        raise InputError(architecture.kind, Fault(name, given, rule, remedy))
    if pair:
        return parts[0], parts[-1]
    return (parts[0], 0) if isinstance(architecture.stacks, Encoder) else (0, parts[0])


def _bytes(dtype: str) -> int:
    if dtype not in BYTES:
        raise InputError("count", Fault("dtype", dtype, "is unknown", f"use {', '.join(BYTES)}"))
    return BYTES[dtype]
