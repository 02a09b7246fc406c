"""The rules that a whole architecture obeys; every broken one is reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from math import isfinite, isqrt
from typing import TYPE_CHECKING, Literal, get_args, get_origin, get_type_hints

from stemma.errors import Fault
from stemma.spec.parts import (
    Decoder,
    Encoder,
    EncoderDecoder,
    LanguageModelHead,
    Learned,
    MaskedLMHead,
    NextSentenceHead,
    Normal,
    Parallel,
    Pooler,
    RelativeBuckets,
    Rotary,
    Sinusoidal,
    SlidingWindow,
)

if TYPE_CHECKING:
    from stemma.spec.architecture import Architecture

# Head counts are small; a search for divisors must not follow a broken file's number.
_FEW = 10_000
_SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_head", "d_ff", "vocab_size")


def faults_of(spec: Architecture, derived: frozenset[str] = frozenset()) -> list[Fault]:
    """Every rule that a spec breaks; those on whole specs are tried only on values of the right types.

    Args:
        spec: the architecture.
        derived: sizes that were not given but follow from others, which are blamed instead.
    """
    typed = [*_size_faults(spec, derived), *_type_faults(spec)]
    return typed or [*_dividing(spec, derived), *(fault for rule in _RULES for fault in rule(spec))]


def divisors(number: int) -> str:
    """The divisors of a number as a choice in words.

    >>> divisors(8)
    '1, 2, 4 or 8'
    """
    small = [n for n in range(1, min(isqrt(number), _FEW) + 1) if number % n == 0]
    found = [str(n) for n in sorted({*small, *(number // n for n in small)})]
    return found[0] if len(found) == 1 else ", ".join(found[:-1]) + " or " + found[-1]


def _size_faults(spec: Architecture, derived: frozenset[str]) -> Iterator[Fault]:
    for name in _SIZES:
        value = getattr(spec, name)
        if name not in derived and (type(value) is not int or value < 1):
            yield Fault(name, value, "must be a whole number of at least 1", "give the size as a positive integer")
    if spec.d_head == 0 and type(spec.d_model) is type(spec.n_heads) is int and 0 < spec.d_model < spec.n_heads:
        rule = f"must be at least n_heads={spec.n_heads} where d_head is not given"
        yield Fault("d_model", spec.d_model, rule, "use fewer heads, or give d_head")


def _type_faults(part: object, path: str = "") -> Iterator[Fault]:
    """Values that are not of the type that their field is declared with, here and in the parts below."""
    hints = get_type_hints(type(part))
    for entry in fields(part):  # type: ignore[arg-type]
        name, value, hint = f"{path}{entry.name}", getattr(part, entry.name), hints[entry.name]
        if path == "" and entry.name in _SIZES:
            continue
        if not _fits(value, hint):
            yield Fault(name, value, f"must be {_words(hint)}", f"write {entry.name}={_example(hint)}")
            continue
        for inner in value if isinstance(value, tuple) else (value,):
            if is_dataclass(inner):
                yield from _type_faults(inner, f"{name}.{type(inner).__name__}." if inner is not value else f"{name}.")


def _fits(value: object, hint: object) -> bool:
    alternatives = get_args(hint)
    if get_origin(hint) is Literal:
        return value in alternatives
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(entry, alternatives[0]) for entry in value)
    if alternatives:
        return any(_fits(value, alternative) for alternative in alternatives)
    if hint is float:
        return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]
    return type(value) is hint


def _example(hint: object) -> str:
    first = get_args(hint)[0] if get_args(hint) else hint
    if get_origin(hint) is tuple:
        return f"({_example(first)},)"
    if is_dataclass(first) and isinstance(first, type):
        return f"{first.__name__}(...)"
    return {float: "1.0", int: "1", bool: "True"}.get(first, repr(first)) if isinstance(first, type) else repr(first)


def _words(hint: object) -> str:
    alternatives = get_args(hint)
    if get_origin(hint) is tuple:
        return f"a tuple of {_words(alternatives[0])}"
    if alternatives:
        return " or ".join(_words(alternative) for alternative in alternatives)
    if isinstance(hint, type):
        return {float: "a finite number", int: "a whole number", bool: "True or False"}.get(hint, hint.__name__)
    return repr(hint)


def _dividing(spec: Architecture, derived: frozenset[str]) -> Iterator[Fault]:
    if spec.n_heads % spec.n_kv_heads:
        rule = f"must divide n_heads={spec.n_heads}"
        yield Fault("n_kv_heads", spec.n_kv_heads, rule, f"use {divisors(spec.n_heads)}")
    if "d_head" in derived and spec.d_model % spec.n_heads:
        rule = f"must divide d_model={spec.d_model} where d_head is not given"
        yield Fault("n_heads", spec.n_heads, rule, "change one of the two, or give d_head")


def _positions(spec: Architecture) -> Iterator[Fault]:
    match spec.position:
        case Learned(max_positions=rows) if rows < 1:
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
    if spec.d_model % 2 and isinstance(spec.position, Sinusoidal):
        yield Fault("d_model", spec.d_model, "must be even for Sinusoidal positions", "use an even width")


def _numbers(spec: Architecture) -> Iterator[Fault]:
    if not spec.norm.eps > 0:
        yield Fault("norm.eps", spec.norm.eps, "must be positive", "the usual value is 1e-5 or 1e-6")
    if isinstance(spec.initialisation, Normal) and spec.initialisation.std < 0:
        yield Fault("initialisation.std", spec.initialisation.std, "must not be negative", "the usual value is 0.02")
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
    rows = spec.stacks.n_decoder_layers if isinstance(spec.stacks, EncoderDecoder) else None
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


_RULES: tuple[Callable[[Architecture], Iterator[Fault]], ...] = (_positions, _numbers, _stacks, _heads)
