"""What an architecture's values owe each other: a table, of which every broken row is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from math import isqrt
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from stemma.errors import Fault
from stemma.spec.ends import (
    LanguageModelHead,
    MaskedLMHead,
    NextSentenceHead,
    Pooler,
    ReplacedTokenHead,
    SpanBoundaryHead,
)
from stemma.spec.parts import (
    Alternating,
    BlockPositions,
    Decoder,
    Encoder,
    Learned,
    Parallel,
    Permutation,
    RelativeBuckets,
    RelativeSinusoidal,
    Rotary,
    Sinusoidal,
)
from stemma.spec.tasks import broken_task_heads
from stemma.spec.training import Normal

if TYPE_CHECKING:
    from stemma.spec.architecture import Architecture

# Head counts are small; a search for divisors must not follow a broken file's number.
_FEW = 10_000


@dataclass(frozen=True)
class Rule:
    """One row of the table.

    Args:
        field: path of the field that is blamed.
        broken: whether a spec breaks the rule.
        rule: in words; braces hold attributes of the spec.
        remedy: what to do.
    """

    field: str
    broken: Callable[[Any], object]
    rule: str
    remedy: str

    def fault(self, spec: Any) -> Fault:
        """What to tell of a spec that breaks it."""
        return Fault(self.field, attrgetter(self.field)(spec), self.rule.format(spec=spec), self.remedy)


def _encoder_alone(field: str) -> Rule:
    """A table of vectors that only an encoder alone is given the ids for."""
    name = field.split(".")[1]
    return Rule(
        field,
        lambda s: getattr(s.embedding, name) and not isinstance(s.stacks, Encoder),
        "needs an encoder alone",
        "use 0, or stacks=Encoder()",
    )


_FOURS = "must be a positive multiple of 4: two directions, near and far"

RULES: tuple[Rule, ...] = (
    # Positions.
    Rule(
        "position.base",
        lambda s: isinstance(s.position, Rotary) and not s.position.base > 1,
        "must exceed 1",
        "the usual base is 10000",
    ),
    Rule(
        "position.fraction",
        lambda s: isinstance(s.position, Rotary) and not 0 < s.position.fraction <= 1,
        "must lie in (0, 1]",
        "use 1.0 to turn every channel",
    ),
    Rule(
        "d_head",
        lambda s: (
            isinstance(s.position, Rotary) and 0 < s.position.fraction <= 1 and (s.d_rotary % 2 or not s.d_rotary)
        ),
        "must be even for Rotary, which turns pairs: {spec.d_rotary} channels are turned",
        "use an even width",
    ),
    Rule(
        "position.n_buckets",
        lambda s: isinstance(s.position, RelativeBuckets) and s.position.n_buckets % 4,
        _FOURS,
        "T5 uses 32",
    ),
    Rule(
        "position.max_distance",
        lambda s: isinstance(s.position, RelativeBuckets) and s.position.max_distance <= s.position.n_buckets,
        "must exceed n_buckets={spec.position.n_buckets}",
        "T5 uses 128",
    ),
    Rule(
        "position.offset",
        lambda s: isinstance(s.position, Learned) and s.position.offset >= s.position.max_positions,
        "leaves none of max_positions={spec.position.max_positions} rows",
        "use a table with more rows",
    ),
    Rule(
        "d_model",
        lambda s: isinstance(s.position, Sinusoidal | RelativeSinusoidal) and s.d_model % 2,
        "must be even for sinusoids, which come in pairs",
        "use an even width",
    ),
    Rule(
        "position",
        lambda s: isinstance(s.position, BlockPositions) and not isinstance(s.stacks, Decoder),
        "needs a decoder alone",
        "use stacks=Decoder()",
    ),
    Rule(
        "position",
        lambda s: isinstance(s.stacks, Permutation) and not isinstance(s.position, RelativeSinusoidal),
        "cannot serve two streams, whose states must not hold their position",
        "use RelativeSinusoidal()",
    ),
    Rule(
        "position.segments",
        lambda s: s.position == RelativeSinusoidal(segments=True) and not isinstance(s.stacks, Permutation),
        "needs stacks=Permutation()",
        "use segments=False",
    ),
    # Attention.
    Rule(
        "attention_scale",
        lambda s: s.attention_scale is not None and not s.attention_scale > 0,
        "must be positive",
        "leave it out for d_head ** -0.5",
    ),
    Rule(
        "attention.patterns",
        lambda s: isinstance(s.attention, Alternating) and not s.attention.patterns,
        "must hold at least one pattern",
        "use Full() where all blocks are alike",
    ),
    Rule(
        "top_query",
        lambda s: s.top_query and not (isinstance(s.stacks, Decoder) and isinstance(s.position, Learned)),
        "needs a decoder alone with Learned positions",
        "use top_query=False",
    ),
    # Feed-forward.
    Rule(
        "experts.n_active",
        lambda s: s.experts is not None and s.experts.n_active > s.experts.n_experts,
        "exceeds n_experts={spec.experts.n_experts}",
        "use fewer active experts",
    ),
    Rule(
        "experts.every",
        lambda s: s.experts is not None and s.experts.every > s.n_layers,
        "leaves none of n_layers={spec.n_layers} blocks with experts",
        "use 1 for all blocks",
    ),
    Rule(
        "shared_layers",
        lambda s: s.shared_layers and (s.top_query or (s.experts is not None and s.experts.every > 1)),
        "contradicts blocks that differ: top_query, or experts in some of them",
        "use shared_layers=False",
    ),
    # Numbers.
    Rule("norm.eps", lambda s: not s.norm.eps > 0, "must be positive", "the usual value is 1e-5 or 1e-6"),
    Rule(
        "initialisation.std",
        lambda s: isinstance(s.initialisation, Normal) and s.initialisation.std < 0,
        "must not be negative",
        "the usual value is 0.02",
    ),
    # Embeddings.
    *(_encoder_alone(f"embedding.{name}") for name in ("segments", "languages", "tasks")),
    *(
        Rule(f"embedding.{name}", rule, "is d_model: no map is needed", "use 0")
        for name, rule in {
            "width": lambda s: s.embedding.width == s.d_model,
            "early_width": lambda s: s.embedding.early_width == s.d_model,
        }.items()
    ),
    Rule(
        "embedding.early_width",
        lambda s: s.embedding.width and s.embedding.early_width,
        "cannot go with embedding.width={spec.embedding.width}",
        "use one of the two",
    ),
    Rule(
        "embedding.early_width",
        lambda s: s.embedding.early_width and not isinstance(s.stacks, Decoder),
        "needs a decoder alone",
        "use width",
    ),
    # Stacks.
    Rule(
        "placement",
        lambda s: isinstance(s.placement, Parallel) and not isinstance(s.stacks, Decoder),
        "needs a decoder alone",
        "use PreNorm() or PostNorm()",
    ),
    Rule(
        "modules",
        lambda s: s.modules is not None and not isinstance(s.stacks, Decoder),
        "need a decoder alone, which also reads both ways",
        "use stacks=Decoder()",
    ),
    Rule(
        "modules.n_heads",
        lambda s: s.modules is not None and s.modules.d_model % s.modules.n_heads,
        "must divide modules.d_model={spec.modules.d_model}",
        "change one of the two",
    ),
    Rule(
        "modules.d_model",
        lambda s: (
            s.modules is not None
            and isinstance(s.position, Rotary)
            and (not (turned := int(s.modules.d_model // s.modules.n_heads * s.position.fraction)) or turned % 2)
        ),
        "must give heads of which Rotary turns an even number of channels",
        "use even heads",
    ),
    Rule(
        "modules.d_model",
        lambda s: s.modules is not None and isinstance(s.position, RelativeSinusoidal) and s.modules.d_model % 2,
        "must be even for sinusoids, which come in pairs",
        "use an even width",
    ),
    # Images.
    Rule(
        "vision",
        lambda s: s.vision is not None and not isinstance(s.stacks, Decoder),
        "needs a decoder alone",
        "use stacks=Decoder()",
    ),
    Rule(
        "vision",
        lambda s: s.vision is not None and s.d_embedding != s.d_model,
        "leads to d_model={spec.d_model}, and tokens are embedded in {spec.d_embedding}",
        "embed tokens in d_model",
    ),
    Rule(
        "vision.patch_size",
        lambda s: s.vision is not None and s.vision.image_size % s.vision.patch_size,
        "must divide image_size={spec.vision.image_size}",
        "change one of the two",
    ),
    Rule(
        "vision.n_heads",
        lambda s: s.vision is not None and s.vision.d_model % s.vision.n_heads,
        "must divide vision.d_model={spec.vision.d_model}",
        "change one of the two",
    ),
    Rule(
        "vision.layer",
        lambda s: s.vision is not None and not -s.vision.n_layers <= s.vision.layer + 1 <= s.vision.n_layers + 1,
        "is no hidden state of {spec.vision.n_layers} blocks",
        "use -1 for the last block's output",
    ),
    Rule(
        "vision.token",
        lambda s: s.vision is not None and s.vision.token >= s.vocab_size,
        "lies outside the vocabulary of {spec.vocab_size}",
        "add a token for patches to the vocabulary",
    ),
    Rule("vision.eps", lambda s: s.vision is not None and not s.vision.eps > 0, "must be positive", "CLIP uses 1e-5"),
)


def rule_faults(spec: Architecture, derived: frozenset[str]) -> Iterator[Fault]:
    """Every rule that a spec of the right types breaks.

    Args:
        spec: the architecture.
        derived: sizes that were not given but follow from others, which are blamed instead.
    """
    if spec.n_heads % spec.n_kv_heads:
        rule = f"must divide n_heads={spec.n_heads}"
        yield Fault("n_kv_heads", spec.n_kv_heads, rule, f"use {divisors(spec.n_heads)}")
    if "d_head" in derived and spec.d_model % spec.n_heads:
        rule = f"must divide d_model={spec.d_model} where d_head is not given"
        yield Fault("n_heads", spec.n_heads, rule, "change one of the two, or give d_head")
    yield from (rule.fault(spec) for rule in RULES if rule.broken(spec))
    for rate in fields(spec.dropout):
        value = getattr(spec.dropout, rate.name)
        if not 0 <= value < 1:
            yield Fault(f"dropout.{rate.name}", value, "must lie in [0, 1)", "the usual rate is 0.1")
    yield from _head_faults(spec)


def divisors(number: int) -> str:
    """The divisors of a number as a choice in words.

    >>> divisors(8)
    '1, 2, 4 or 8'
    """
    small = [n for n in range(1, min(isqrt(number), _FEW) + 1) if number % n == 0]
    found = [str(n) for n in sorted({*small, *(number // n for n in small)})]
    return found[0] if len(found) == 1 else ", ".join(found[:-1]) + " or " + found[-1]


def _head_faults(spec: Architecture) -> Iterator[Fault]:
    kinds = [type(head) for head in spec.heads]
    for kind in sorted(set(kinds), key=lambda kind: kind.__name__):
        if kinds.count(kind) > 1:
            yield Fault("heads", kind.__name__, "must appear once", "leave out the second")
    encoder = isinstance(spec.stacks, Encoder)
    for kind in (MaskedLMHead, Pooler, NextSentenceHead, ReplacedTokenHead, SpanBoundaryHead):
        if kind in kinds and not encoder:
            yield Fault("heads", kind.__name__, "needs an encoder alone", "use LanguageModelHead()")
    if LanguageModelHead in kinds and encoder:
        yield Fault("heads", "LanguageModelHead", "needs a decoder", "use MaskedLMHead()")
    masked = spec.head(MaskedLMHead)
    if masked is not None and not masked.dense and spec.d_embedding != spec.d_model:
        rule = f"leaves nothing that leads to the embedding's width of {spec.d_embedding}"
        yield Fault("heads.mlm.dense", False, rule, "use dense=True, or width=0")
    if NextSentenceHead in kinds and Pooler not in kinds:
        yield Fault("heads", "NextSentenceHead", "reads the pooled vector", "add Pooler()")
    yield from broken_task_heads(spec.heads, pooler=Pooler in kinds)
