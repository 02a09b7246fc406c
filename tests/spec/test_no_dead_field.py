"""No field is dead: changing it changes the parameters, their first values or what the network gives.

The fields are found by looking at the types, so that a new one is tried without being listed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from itertools import combinations
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch

from stemma.errors import SpecError
from stemma.nn import Model
from stemma.spec import (
    Architecture,
    Dropout,
    Embedding,
    Encoder,
    EncoderDecoder,
    Full,
    MaskedLMHead,
    NextSentenceHead,
    Normal,
    Permutation,
    Pooler,
    RelativeSinusoidal,
    SlidingWindow,
)
from stemma.spec.ends import Head

from ..tiny import RESULTS

# Images are needed to see what a vision transformer's fields do: see the tests of images.
HINTS = {name: hint for name, hint in get_type_hints(Architecture).items() if name != "vision"}
SIZES: dict[str, Any] = dict(n_layers=2, d_model=8, n_heads=4, n_kv_heads=2, d_head=12, d_ff=10, vocab_size=13)
DECODER = Architecture(**SIZES)
ENCODER = DECODER.change(
    stacks=Encoder(),
    embedding=Embedding(segments=2, norm=True),
    heads=(Pooler(), MaskedLMHead(), NextSentenceHead()),
)
BOTH = DECODER.change(stacks=EncoderDecoder())
PERMUTED = DECODER.change(stacks=Permutation(), position=RelativeSinusoidal())
BASES = (DECODER, ENCODER, BOTH, replace(DECODER, heads=()), PERMUTED, replace(PERMUTED, heads=()))

# For fields without a default, and where the default lies beyond what a text of 12 tokens shows.
STARTS: dict[str, Any] = dict(max_positions=16, window=3, n_buckets=8, max_distance=20, max_block=5, fraction=0.5)
STARTS |= dict(patterns=(Full(), SlidingWindow(3)), n_experts=4, n_active=2)
STARTS |= dict(n_layers=1, d_model=8, n_heads=2, d_ff=6)  # of task modules


def kinds(hint: Any) -> tuple[type, ...]:
    """The alternatives of a part."""
    hint = Head if hint == tuple[Head, ...] else hint
    return tuple(kind for kind in get_args(hint) or (hint,) if is_dataclass(kind))


def example(kind: type) -> Any:
    """An alternative with usual values."""
    return kind(**{field.name: STARTS[field.name] for field in fields(kind) if field.name in STARTS})


def other(value: Any, hint: Any) -> Any:
    """Another value of the same type."""
    if get_origin(hint) is Literal:
        return next(choice for choice in get_args(hint) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return value[::-1]
    kind = next(part for part in get_args(hint) or (hint,) if part is not NoneType)
    return 2 * value if value else {int: 3, float: 0.5}[kind]


def wear(base: Architecture, name: str, part: Any) -> Architecture | None:
    """The base with this part, where it may have it."""
    try:
        if name != "heads":
            return replace(base, **{name: part})
        return replace(base, heads=(*(head for head in base.heads if type(head) is not type(part)), part))
    except SpecError:
        return None


def pairs(name: str, before: Any, after: Any) -> list[tuple[Architecture, Architecture]]:
    """Architectures of each kind that differ in one part only."""
    worn = [(wear(base, name, before), wear(base, name, after)) for base in BASES]
    return [(first, second) for first, second in worn if first and second and first != second]


def cases() -> Iterator[Any]:
    """Each size, each field of each alternative, and each two alternatives."""
    for name, hint in HINTS.items():
        if not kinds(hint):
            worn = [(base, wear(base, name, other(getattr(base, name), hint))) for base in BASES]
            values = [(first, second) for first, second in worn if second]
            yield pytest.param(values, id=name)
        for kind in kinds(hint):
            hints, part = get_type_hints(kind), example(kind)
            for field in fields(kind):
                changed = replace(part, **{field.name: other(getattr(part, field.name), hints[field.name])})
                yield pytest.param(pairs(name, part, changed), id=f"{name}.{kind.__name__}.{field.name}")
        for first, second in combinations(kinds(hint), 2):
            if name != "heads":
                label = f"{name}: {first.__name__} or {second.__name__}"
                yield pytest.param(pairs(name, example(first), example(second)), id=label)
    bare = [*(replace(base, heads=()) for base in BASES), replace(ENCODER, heads=(Pooler(),))]
    for head in kinds(HINTS["heads"]):
        worn = [(base, wear(base, "heads", example(head))) for base in bare]
        yield pytest.param(
            [(first, second) for first, second in worn if second and first != second],
            id=f"heads: {head.__name__} or none",
        )


@cache
def behaviour(architecture: Architecture) -> dict[str, torch.Tensor]:
    """Parameters and outputs for one seed, as evaluated and as trained."""
    model = Model(architecture, seed=1)
    shown = {f"parameters {name}": value for name, value in model.state_dict().items()}
    text = torch.arange(12)[None] % architecture.vocab_size
    inputs = {"decoder_tokens": text.flip(1)} if isinstance(architecture.stacks, EncoderDecoder) else {}
    for mode in ("eval", "train"):
        model.train(mode == "train")
        torch.manual_seed(1)
        with torch.no_grad():
            output = model(text, **inputs)
        given = {name: getattr(output, name) for name in RESULTS}
        shown |= {f"{mode} {name}": value for name, value in given.items() if value is not None}
    return shown


def differ(first: Architecture, second: Architecture) -> bool:
    left, right = behaviour(first), behaviour(second)
    return left.keys() != right.keys() or any(not torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("alternatives", list(cases()))
def test_no_field_is_dead(alternatives: list[tuple[Architecture, Architecture]]) -> None:
    assert alternatives, "no base can have this part: add one"
    assert all(differ(first, second) for first, second in alternatives)


def test_what_is_equal_behaves_equally() -> None:
    """Or else the test above could not fail."""
    dropping = DECODER.change(dropout=Dropout(0.1, 0.1, 0.1), initialisation=Normal(truncated=True))
    for base in (*BASES, dropping):
        first, second = behaviour.__wrapped__(base), behaviour.__wrapped__(base)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
