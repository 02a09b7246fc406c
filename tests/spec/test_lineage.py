"""Families as differences: deriving, building, comparing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.errors import SpecError
from stemma.families import GPT2, LLAMA, LLAMA2, T5, TRANSFORMER, catalogue
from stemma.spec import Architecture, Change, Family, Learned, PostNorm, PreNorm, RMSNorm, Rotary, SlidingWindow, diff

CHILD = LLAMA2.derive("child", year=2030, attention=SlidingWindow(8))


def test_a_child_differs_only_where_it_says_so() -> None:
    assert diff(LLAMA2, CHILD) == (
        Change("year", 2023, 2030),
        Change("attention", "Full", "SlidingWindow"),
        Change("attention.window", None, 8),
    )
    assert CHILD.parent is LLAMA2
    assert [family.name for family in CHILD.ancestors] == ["llama2", "llama", "gpt2", "gpt", "transformer"]
    assert (CHILD.organisation, CHILD.checkpoint) == (LLAMA2.organisation, LLAMA2.checkpoint)


def test_a_family_cannot_be_changed_by_its_child() -> None:
    with pytest.raises(TypeError):
        LLAMA2.traits["attention"] = SlidingWindow(8)  # type: ignore[index]
    with pytest.raises(TypeError):
        LLAMA2.sizes["7B"] = {}  # type: ignore[index]


def test_what_is_neither_fact_nor_field_is_named() -> None:
    with pytest.raises(SpecError) as caught:
        LLAMA.derive("wrong", windows=4, colour="red")
    assert [fault.field for fault in caught.value.faults] == ["colour", "windows"]
    assert "wrong: 2 faults" in str(caught.value)
    assert "colour='red' is no field; use " in str(caught.value)
    assert "attention" in str(caught.value)
    assert "organisation" in str(caught.value)


def test_a_size_is_built_as_published() -> None:
    large = LLAMA2.build("70B")
    assert (large.n_layers, large.n_kv_heads, large.d_head, large.d_ff) == (80, 8, 128, 28_672)
    assert GPT2.build() == GPT2.build("117M")


def test_sizes_of_one_s_own_follow_from_what_is_given() -> None:
    tiny = LLAMA.build(n_layers=2, d_model=96, n_heads=4)
    assert (tiny.d_head, tiny.d_ff, tiny.n_kv_heads, tiny.vocab_size) == (24, 256, 4, 32_000)
    assert tiny.norm == RMSNorm(1e-6)


def test_a_published_size_can_be_changed() -> None:
    wider = T5.build("small", d_model=256)
    assert (wider.n_layers, wider.n_heads, wider.d_head, wider.d_ff) == (6, 8, 32, 1024)
    assert T5.build("small", n_layers=2).d_ff == 2048


@pytest.mark.parametrize(
    ("size", "changes", "words"),
    [
        ("8B", {}, ("llama: size='8B'", "use 7B or 13B or 33B or 65B")),
        ("7B", dict(n_layer=4), ("llama: n_layer=4 is no field", "n_layers")),
        (
            None,
            dict(n_layers=2),
            ("llama: 2 faults", "d_model=None is missing", "n_heads=None is missing", "7B or 13B"),
        ),
        (None, dict(d_model=8, colour=1), ("llama: 3 faults", "colour=1 is no field", "n_layers=None", "n_heads=None")),
        ("7B", dict(n_kv_heads=5), ("llama: n_kv_heads=5 must divide n_heads=32", "use 1, 2, 4, 8, 16 or 32")),
    ],
)
def test_a_size_that_cannot_be_built_is_named(
    size: str | None, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(SpecError) as caught:
        LLAMA.build(size, **changes)
    assert all(word in str(caught.value) for word in words), caught.value


def test_diff_names_paths() -> None:
    small = GPT2.build("117M")
    assert diff(small, small.change(position=Learned(7))) == (Change("position.max_positions", 1024, 7),)
    assert diff(small, small.change(position=Rotary(base=5.0))) == (
        Change("position", "Learned", "Rotary"),
        Change("position.max_positions", 1024, None),
        Change("position.offset", 0, None),
        Change("position.base", None, 5.0),
        Change("position.fraction", None, 1.0),
        Change("position.layout", None, "halves"),
    )
    assert diff(PreNorm(), PostNorm()) == ()  # parts alone are compared by their fields


def test_diff_of_families_compares_facts_and_sizes_too() -> None:
    changes = {change.path: change for change in diff(LLAMA, LLAMA2)}
    assert changes["norm.eps"] == Change("norm.eps", 1e-6, 1e-5)
    assert changes["context"] == Change("context", 2048, 4096)
    assert changes["sizes.70B"].before is None
    assert "sizes.7B" not in changes
    assert "position" not in changes


@pytest.mark.parametrize("family", catalogue(), ids=lambda family: family.name)
def test_diff_is_empty_only_for_equals_and_turns_round(family: Family) -> None:
    assert diff(family, family) == ()
    forth, back = diff(TRANSFORMER, family), diff(family, TRANSFORMER)
    turned = [Change(change.path, change.after, change.before) for change in back]
    assert sorted(forth, key=repr) == sorted(turned, key=repr)
    assert bool(forth) == (family is not TRANSFORMER)


@given(data=st.data())
def test_diff_tells_any_two_architectures_apart(
    architectures: st.SearchStrategy[Architecture], data: st.DataObject
) -> None:
    first, second = data.draw(architectures), data.draw(architectures)
    assert (diff(first, second) == ()) == (first == second)
