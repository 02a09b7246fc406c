"""What an architecture costs to run: floating-point operations and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stemma.errors import Fault, InputError
from stemma.spec.architecture import Architecture
from stemma.spec.count import (
    feedforward_weights,
    key_weights,
    module_stack,
    n_cross_layers,
    parameters,
    query_weights,
    vision_tower,
)
from stemma.spec.ends import Head, LanguageModelHead, MaskedLMHead, NextSentenceHead, Pooler, ReplacedTokenHead
from stemma.spec.parts import Encoder, EncoderDecoder, Permutation, RelativeSinusoidal
from stemma.spec.recurrent import Recurrent
from stemma.spec.tasks import AnswerHead, ClassifierHead, TaggerHead
from stemma.spec.windows import n_scores, n_slots

Lengths = int | tuple[int, int]
"""Tokens of one sequence; (source, target) where there are two stacks."""

BYTES: Mapping[str, int] = MappingProxyType({"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1})


def forward_flops(architecture: Architecture, tokens: Lengths, *, context: Lengths | None = None) -> int:
    """Operations of one sequence's forward pass: matrix products and attention scores, 2 for each multiply-add.

    A token costs twice the weights that it meets (Kaplan et al. 2020, section 2.1), of a mixture those of the experts
    that are chosen for it and the router, and in each attention 4 * n_heads * d_head for every key, half for its score
    and half for its value (Hoffmann et al. 2022, appendix F). Keys that a causal mask hides count, those beyond a
    window do not. The output projection counts at every position; embeddings, norms, softmax and activations do not
    count, nor do images, heads that read single positions chosen elsewhere, and a permutation's second stream.

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
    read = target if isinstance(architecture.stacks, EncoderDecoder) else source + target
    total = _stack_flops(architecture, architecture.n_encoder_layers, source, sources, ahead=True)
    total += _stack_flops(architecture, architecture.n_decoder_layers, target, targets)
    total += n_cross_layers(architecture) * _cross_flops(architecture, source, target, sources)
    if (modules := architecture.modules) is not None:
        total += _stack_flops(module_stack(architecture, modules), modules.n_layers, target, targets)
        total += 2 * 2 * target * architecture.d_model * modules.d_model
    embedding = architecture.embedding
    total += 2 * (source + target) * (embedding.width + 2 * embedding.early_width) * architecture.d_model
    return total + sum(_head_flops(architecture, head, read) for head in architecture.heads)


def image_flops(architecture: Architecture) -> int:
    """Operations of reading one image: patches, blocks that run, maps to the decoder's width; 0 where none is read."""
    vision = architecture.vision
    if vision is None:
        return 0
    patches = 2 * vision.n_patches * 3 * vision.patch_size**2 * vision.d_model
    projector = 2 * vision.n_vectors * (vision.d_model + architecture.d_model) * architecture.d_model
    n_positions = vision.n_patches + 1
    return patches + _stack_flops(vision_tower(vision), vision.depth, n_positions, n_positions) + projector


def training_flops(architecture: Architecture, tokens: Lengths) -> int:
    """Operations of one sequence's training step: backwards costs twice forwards (Hoffmann et al. 2022, appendix F)."""
    return 3 * forward_flops(architecture, tokens)


def score_elements(architecture: Architecture, tokens: Lengths) -> int:
    """Scores of query on key that one head of every self-attention computes for a text: see `windows.blocks`.

    Raises:
        InputError: for lengths that the architecture cannot take.
    """
    stacks = zip(
        (architecture.n_encoder_layers, architecture.n_decoder_layers),
        _lengths(architecture, "tokens", tokens),
        (False, True),
        strict=True,
    )
    # Relative attention holds every query on every distance, whatever a window hides.
    banded = not isinstance(architecture.position, RelativeSinusoidal)
    return sum(
        n_scores(length, length, architecture.window(layer), causal) if banded else length * length
        for n_layers, length, causal in stacks
        for layer in range(n_layers)
    )


def weight_bytes(architecture: Architecture | Recurrent, dtype: str) -> int:
    """Bytes of the parameters, all held as `dtype`, such as "bfloat16".

    Raises:
        InputError: for a dtype that is not in `BYTES`.
    """
    return parameters(architecture) * _bytes(dtype)


def cache_bytes(architecture: Architecture, tokens: Lengths, dtype: str) -> int:
    """Bytes of one sequence's keys and values: 2 * n_kv_heads * d_head a block for each token that is still seen.

    A window bounds the slots that there are to those seen and a few to fill before they move (`windows.n_slots`); cross
    attention keeps the whole source; an encoder alone keeps nothing. The formula is that of Shazeer 2019, section 2.4,
    with the groups of Ainslie et al. 2023, section 2.2.

    Args:
        architecture: what generates.
        tokens: prompt and answer together; with two stacks the source's and the answer's.
        dtype: that they are held as.

    Raises:
        InputError: for lengths or a dtype that cannot be.
    """
    source, target = _lengths(architecture, "tokens", tokens)
    layers = range(architecture.n_decoder_layers)
    slots = sum(n_slots(target, architecture.window(layer)) for layer in layers)
    slots += len(layers) * source * bool(architecture.n_encoder_layers)
    total = 2 * architecture.n_kv_heads * architecture.d_head * slots * _bytes(dtype)
    if (modules := architecture.modules) is not None:
        total += cache_bytes(module_stack(architecture, modules), tokens, dtype)
    return total


def _stack_flops(architecture: Architecture, n_layers: int, tokens: int, context: int, *, ahead: bool = False) -> int:
    experts, one = architecture.experts, 2 * feedforward_weights(architecture)
    routed = 0 if experts is None else experts.n_active * one + 2 * architecture.d_model * experts.n_experts
    maps, key = (
        2 * (query_weights(architecture) + key_weights(architecture)),
        4 * architecture.n_heads * architecture.d_head,
    )
    total = 0
    for layer in range(n_layers):
        seen = _visible(architecture, layer, context)
        total += tokens * (maps + key * seen + (routed if architecture.has_experts(layer) else one))
        if isinstance(architecture.position, RelativeSinusoidal):
            total += _relative_flops(architecture, tokens, seen + (tokens if ahead else 1))
    return total


def _relative_flops(architecture: Architecture, tokens: int, distances: int) -> int:
    """Of content on sinusoids in one block: they are mapped to the queries' width, or few queries to theirs."""
    maps, wide = query_weights(architecture), 2 * architecture.n_heads * tokens * distances
    if tokens < architecture.d_head:
        return tokens * maps + wide * architecture.d_model
    return distances * maps + wide * architecture.d_head


def _cross_flops(architecture: Architecture, source: int, target: int, sources: int) -> int:
    key = 4 * architecture.n_heads * architecture.d_head
    return 2 * (target * query_weights(architecture) + source * key_weights(architecture)) + key * target * sources


def _head_flops(architecture: Architecture, head: Head, tokens: int) -> int:
    d_model, width = architecture.d_model, architecture.d_embedding
    table = 2 * tokens * width * architecture.vocab_size
    match head:
        case LanguageModelHead():
            return table + 2 * tokens * d_model * architecture.embedding.width
        case MaskedLMHead():
            return table + head.dense * 2 * tokens * d_model * width
        case Pooler():
            return 2 * d_model * d_model
        case NextSentenceHead():
            return 2 * d_model * 2
        case ReplacedTokenHead():
            return 2 * tokens * d_model * (d_model + 1)
        case ClassifierHead() | TaggerHead() | AnswerHead():
            read = 1 if isinstance(head, ClassifierHead) else tokens
            return 2 * read * head.weights(architecture.d_hidden)
        case _:
            return 0


def _visible(architecture: Architecture, layer: int, tokens: int) -> int:
    window = architecture.window(layer)
    return tokens if window is None else min(tokens, window)


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
    return (parts[0], 0) if isinstance(architecture.stacks, Encoder | Permutation) else (0, parts[0])


def _bytes(dtype: str) -> int:
    if dtype not in BYTES:
        raise InputError("count", Fault("dtype", dtype, "is unknown", f"use {', '.join(BYTES)}"))
    return BYTES[dtype]
