"""The rules that a whole architecture obeys; every broken one is reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, get_args

from stemma.errors import Fault
from stemma.spec.parts import (
    ACTIVATIONS,
    Bias,
    Decoder,
    Dropout,
    Embedding,
    Encoder,
    FeedForward,
    Head,
    Initialisation,
    LanguageModelHead,
    Learned,
    MaskedLMHead,
    NextSentenceHead,
    Norm,
    Parallel,
    Pattern,
    Placement,
    Pooler,
    Position,
    RelativeBuckets,
    Rotary,
    SlidingWindow,
    Stacks,
)

if TYPE_CHECKING:
    from stemma.spec.architecture import Architecture

_PARTS: dict[str, tuple[type, ...]] = {
    "stacks": get_args(Stacks),
    "position": get_args(Position),
    "embedding": (Embedding,),
    "norm": get_args(Norm),
    "placement": get_args(Placement),
    "attention": get_args(Pattern),
    "feedforward": get_args(FeedForward),
    "bias": (Bias,),
    "dropout": (Dropout,),
    "initialisation": get_args(Initialisation),
}
_SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_head", "d_ff", "vocab_size")


def faults_of(spec: Architecture, filled: frozenset[str] = frozenset()) -> list[Fault]:
    """Every rule that a spec breaks; the later ones are tried only on values of the right type.

    Args:
        spec: the architecture.
        filled: sizes that were derived rather than given; what they follow from is blamed instead.
    """
    typed = list(_type_faults(spec, filled))
    return typed or [fault for rule in _RULES for fault in rule(spec)]


def divisors(number: int) -> str:
    """The divisors of a number as a choice in words.

    >>> divisors(8)
    '1, 2, 4 or 8'
    """
    found = [str(n) for n in range(1, number + 1) if number % n == 0]
    return found[0] if len(found) == 1 else ", ".join(found[:-1]) + " or " + found[-1]


def _type_faults(spec: Architecture, filled: frozenset[str]) -> Iterator[Fault]:
    for name in _SIZES:
        value = getattr(spec, name)
        if name in filled and name != "d_head":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            yield Fault(name, value, "must be a whole number of at least 1", "give the size as a positive integer")
    for name, kinds in _PARTS.items():
        value = getattr(spec, name)
        if not isinstance(value, kinds):
            names = ", ".join(kind.__name__ for kind in kinds)
            yield Fault(name, value, f"must be one of {names}", f"write {name}={kinds[0].__name__}(...)")
    if not isinstance(spec.heads, tuple) or not all(isinstance(head, get_args(Head)) for head in spec.heads):
        yield Fault("heads", spec.heads, "must be a tuple of heads", "write heads=(LanguageModelHead(),)")


def _dividing(spec: Architecture) -> Iterator[Fault]:
    if spec.n_heads % spec.n_kv_heads:
        rule = f"must divide n_heads={spec.n_heads}"
        yield Fault("n_kv_heads", spec.n_kv_heads, rule, f"use {divisors(spec.n_heads)}")
    if spec.d_head == spec.d_model // spec.n_heads and spec.d_model % spec.n_heads:
        rule = f"must divide d_model={spec.d_model} where d_head is not given"
        yield Fault("n_heads", spec.n_heads, rule, "change one of the two, or give d_head")


def _positions(spec: Architecture) -> Iterator[Fault]:
    match spec.position:
        case Learned(max_positions=rows) if not isinstance(rows, int) or rows < 1:
            yield Fault("position.max_positions", rows, "must be at least 1", "give the longest input in tokens")
        case Rotary(base=base) if not base > 1:
            yield Fault("position.base", base, "must exceed 1", "the usual base is 10000")
        case Rotary() if spec.d_head % 2:
            yield Fault("d_head", spec.d_head, "must be even for Rotary, which turns pairs", "use an even width")
        case RelativeBuckets(n_buckets=buckets, max_distance=distance):
            if buckets < 4 or buckets % 4:
                rule = "must be a positive multiple of 4: two directions, near and far"
                yield Fault("position.n_buckets", buckets, rule, "T5 uses 32")
            elif distance <= buckets:
                rule = f"must exceed n_buckets={buckets}"
                yield Fault("position.max_distance", distance, rule, "T5 uses 128")
    if spec.d_model % 2 and type(spec.position).__name__ == "Sinusoidal":
        yield Fault("d_model", spec.d_model, "must be even for Sinusoidal positions", "use an even width")


def _numbers(spec: Architecture) -> Iterator[Fault]:
    if not spec.norm.eps > 0:
        yield Fault("norm.eps", spec.norm.eps, "must be positive", "the usual value is 1e-5 or 1e-6")
    if spec.feedforward.activation not in ACTIVATIONS:
        yield Fault("feedforward.activation", spec.feedforward.activation, "is unknown", f"use one of {ACTIVATIONS}")
    if spec.attention_scale is not None and not spec.attention_scale > 0:
        yield Fault("attention_scale", spec.attention_scale, "must be positive", "leave it out for d_head ** -0.5")
    if isinstance(spec.attention, SlidingWindow) and spec.attention.window < 1:
        yield Fault("attention.window", spec.attention.window, "must be at least 1", "give the window in tokens")
    if spec.embedding.segments < 0:
        yield Fault("embedding.segments", spec.embedding.segments, "must not be negative", "use 0 for none")
    for rate in fields(spec.dropout):
        value = getattr(spec.dropout, rate.name)
        if not 0 <= value < 1:
            yield Fault(f"dropout.{rate.name}", value, "must lie in [0, 1)", "the usual rate is 0.1")


def _stacks(spec: Architecture) -> Iterator[Fault]:
    rows = getattr(spec.stacks, "n_decoder_layers", None)
    if rows is not None and rows < 1:
        yield Fault("stacks.n_decoder_layers", rows, "must be at least 1", "leave it out for n_layers")
    if spec.embedding.segments and not isinstance(spec.stacks, Encoder):
        remedy = "use segments=0, or stacks=Encoder()"
        yield Fault("embedding.segments", spec.embedding.segments, "needs an encoder alone", remedy)
    if isinstance(spec.placement, Parallel) and not isinstance(spec.stacks, Decoder):
        yield Fault("placement", spec.placement, "needs a decoder alone", "use PreNorm() or PostNorm()")


def _heads(spec: Architecture) -> Iterator[Fault]:
    kinds = [type(head) for head in spec.heads]
    for kind in sorted(set(kinds), key=lambda kind: kind.__name__):
        if kinds.count(kind) > 1:
            yield Fault("heads", kind.__name__, "must appear once", "leave out the second")
    encoder = isinstance(spec.stacks, Encoder)
    for kind in (MaskedLMHead, Pooler, NextSentenceHead):
        if kind in kinds and not encoder:
            yield Fault("heads", kind.__name__, "needs an encoder alone", "use LanguageModelHead()")
    if LanguageModelHead in kinds and encoder:
        yield Fault("heads", "LanguageModelHead", "needs a decoder", "use MaskedLMHead()")
    if NextSentenceHead in kinds and Pooler not in kinds:
        yield Fault("heads", "NextSentenceHead", "reads the pooled vector", "add Pooler()")
    masked = spec.head(MaskedLMHead)
    if masked is not None and masked.activation not in ACTIVATIONS:
        yield Fault("heads.mlm.activation", masked.activation, "is unknown", f"use one of {ACTIVATIONS}")


_RULES: tuple[Callable[[Architecture], Iterator[Fault]], ...] = (_dividing, _positions, _numbers, _stacks, _heads)
