"""What a recurrent network's values owe each other: tables, of which every broken row is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from stemma.errors import Fault
from stemma.spec.recurrent_parts import (
    Apart,
    Characters,
    Joined,
    ProjectedLSTM,
    RecurrentDropout,
    ScalarMix,
    Scores,
    TiedScores,
    Words,
)
from stemma.spec.rules import Rule
from stemma.spec.tasks import broken_task_heads

if TYPE_CHECKING:
    from stemma.spec.recurrent import Recurrent


def _has(kind: type) -> Callable[[Any], bool]:
    return lambda spec: spec.head(kind) is not None


def _broken_filters(spec: Any) -> bool:
    if not isinstance(spec.tokens, Characters):
        return False
    return not spec.tokens.filters or any(len(pair) != 2 or min(pair) < 1 for pair in spec.tokens.filters)


def _not_positive(name: str) -> Callable[[Any], bool]:
    return lambda spec: (bound := getattr(spec.cell, name, None)) is not None and bound <= 0


def _no_rate(name: str) -> Callable[[Any], bool]:
    return lambda spec: not 0 <= getattr(spec.dropout, name) < 1


_SIZES_GIVEN = "give at least one, each of positive whole numbers"

SIZES: tuple[Rule, ...] = (
    Rule("widths", lambda s: min(s.widths, default=0) < 1, "must be sizes of at least 1", _SIZES_GIVEN),
    Rule("tokens.filters", _broken_filters, "must be pairs of a width and channels, at least 1 each", _SIZES_GIVEN),
)
"""Without these the others have no meaning."""

RULES: tuple[Rule, ...] = (
    Rule(
        "tokens.filters",
        lambda s: isinstance(s.tokens, Characters) and max(s.tokens.filters)[0] > s.tokens.max_characters,
        "hold one wider than max_characters={spec.tokens.max_characters}",
        "use narrower filters",
    ),
    *(
        Rule(f"cell.{entry.name}", _not_positive(entry.name), "must be positive", "leave it out for no bound")
        for entry in fields(ProjectedLSTM)
        if entry.name != "d_projection"
    ),
    Rule(
        "directions.skip",
        lambda s: s.directions == Apart(skip=True) and len({*s.outputs}) > 1,
        "needs layers of one width, not {spec.outputs}",
        "use skip=False, or equal widths",
    ),
    Rule(
        "heads",
        lambda s: len({head.name for head in s.heads}) < len(s.heads),
        "may hold one of a name",
        "leave out the second",
    ),
    Rule(
        "heads",
        lambda s: isinstance(s.directions, Joined) and (_has(Scores)(s) or _has(TiedScores)(s)),
        "would see the word that they are to tell",
        "use directions=Forward() or Apart()",
    ),
    Rule(
        "heads",
        lambda s: _has(TiedScores)(s) and not isinstance(s.tokens, Words),
        "need a table of words",
        "use Scores(vocab_size)",
    ),
    Rule(
        "heads",
        lambda s: _has(TiedScores)(s) and s.outputs[-1] != s.tokens.d_embedding,
        "need a last layer as wide as the words, d_embedding={spec.tokens.d_embedding}",
        "change one of the two, or use Scores(vocab_size)",
    ),
    Rule(
        "heads",
        lambda s: _has(ScalarMix)(s) and len({*s.layer_widths}) > 1,
        "mix layers of one width, not {spec.layer_widths}",
        "make the token vectors and all layers equally wide",
    ),
    Rule(
        "dropout.embedding",
        lambda s: s.dropout.embedding and not isinstance(s.tokens, Words),
        "needs a table of words",
        "use 0.0",
    ),
    *(
        Rule(f"dropout.{entry.name}", _no_rate(entry.name), "must lie in [0, 1)", "the usual rate is 0.1 to 0.5")
        for entry in fields(RecurrentDropout)
        if entry.name != "locked"
    ),
)


def rule_faults(spec: Recurrent) -> Iterator[Fault]:
    """Every rule that values of the right types break.

    Args:
        spec: the network.
    """
    broken = [rule for rule in SIZES if rule.broken(spec)] or [rule for rule in RULES if rule.broken(spec)]
    yield from (rule.fault(spec) for rule in broken)
    yield from broken_task_heads(spec.heads, pooler=False, recurrent=True)
