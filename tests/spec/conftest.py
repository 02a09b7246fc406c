"""Random architectures, drawn from the types of the fields: a new field or alternative is drawn too."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import strategies as st

from stemma.errors import SpecError
from stemma.spec import Architecture, Encoder, Permutation, Pooler, RelativeSinusoidal
from stemma.spec.ends import Head, LanguageModelHead, NextSentenceHead

# Where not every value of the field's type is allowed.
BOUNDED: dict[str, st.SearchStrategy[Any]] = {
    "d_model": st.integers(1, 9).map(lambda half: 2 * half),
    "d_head": st.integers(1, 5).map(lambda half: 2 * half),
    "n_buckets": st.integers(1, 4).map(lambda quarter: 4 * quarter),
    "max_distance": st.integers(17, 40),
    "base": st.floats(2, 1e5),
    "fraction": st.sampled_from([0.5, 1.0]),
    "offset": st.integers(0, 1),
    "max_positions": st.integers(2, 4),
    # Drawn at their own sizes in the tests of each.
    "vision": st.none(),
    "modules": st.none(),
}


def values(name: str, hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a field, by its name or its type."""
    if name in BOUNDED:
        return BOUNDED[name]
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if hint == tuple[Head, ...]:
        return st.tuples(*(st.none() | values("", head) for head in get_args(Head)))
    if get_origin(hint) is tuple:
        return st.lists(values("", get_args(hint)[0]), min_size=1, max_size=3).map(tuple)
    if get_origin(hint) in (Union, UnionType):
        return st.one_of(values("", kind) for kind in get_args(hint))
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{part.name: values(part.name, hints[part.name]) for part in fields(hint)})
    return {
        bool: st.booleans(),
        int: st.integers(1, 4),
        float: st.floats(0.1, 0.9),
        type(None): st.none(),
    }[hint]


# What the rest may contradict is exchanged for this.
USUAL: dict[str, Any] = {field.name: field.default for field in fields(Architecture)} | {"d_head": 12, "heads": ()}


@st.composite
def any_architecture(draw: st.DrawFn) -> Architecture:
    """A valid architecture: what contradicts the stacks that were drawn, or another part, takes its usual value."""
    hints = get_type_hints(Architecture)
    drawn = {field.name: draw(values(field.name, hints[field.name])) for field in fields(Architecture)}
    drawn["n_heads"] *= drawn["n_kv_heads"]
    if drawn["d_model"] % drawn["n_heads"] and drawn["d_model"] // drawn["n_heads"] == drawn["d_head"]:
        drawn["d_head"] += 2  # reads as a width that was not given
    encoder = isinstance(drawn["stacks"], Encoder)
    heads = [head for head in drawn["heads"] if head and isinstance(head, LanguageModelHead) != encoder]
    pooled = Pooler() in heads
    drawn["heads"] = tuple(head for head in heads if pooled or not isinstance(head, NextSentenceHead))
    while True:
        try:
            return Architecture(**drawn)
        except SpecError as error:
            blamed = {fault.field.split(".")[0] for fault in error.faults}
            if all(drawn[name] == USUAL[name] for name in blamed):
                raise
            drawn |= {name: USUAL[name] for name in blamed}
            if isinstance(drawn["stacks"], Permutation):
                drawn["position"] = RelativeSinusoidal()


@pytest.fixture(scope="session")
def architectures() -> st.SearchStrategy[Architecture]:
    """Random valid architectures, of all kinds and with all alternatives."""
    return any_architecture()
