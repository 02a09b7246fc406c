"""The tree holds together, and its facts are the published ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stemma.errors import SpecError
from stemma.families import BERT, COVE, GPT2, LLAMA, LLAMA2, T5, T5_V1_1, TRANSFORMER, catalogue, closest, family
from stemma.spec import Decoder, Encoder, EncoderDecoder, Family, Gated, Plain

each_family = pytest.mark.parametrize("member", catalogue(), ids=lambda member: member.name)


def test_names_are_unique() -> None:
    names = [member.name for member in catalogue()]
    assert len(names) == len(set(names)) > 0


def test_there_is_one_root_of_each_shape_and_parents_come_first() -> None:
    seen: list[str] = []
    for member in catalogue():
        assert member.parent is None or member.parent.name in seen, member.name
        seen.append(member.name)
    roots = [member for member in catalogue() if member.parent is None]
    assert roots == [TRANSFORMER, COVE]
    assert len({member.shape for member in roots}) == len(roots)
    assert all(member.shape is member.parent.shape for member in catalogue() if member.parent)


@each_family
def test_no_family_is_older_than_its_parent(member: Family) -> None:
    assert all(member.year >= ancestor.year >= 2017 for ancestor in member.ancestors)


@each_family
def test_facts_are_given(member: Family) -> None:
    assert all((member.organisation, member.paper, member.objective, member.tokenizer, member.data))
    assert member.context is None or member.context > 0


@each_family
def test_each_size_builds_and_differs(member: Family) -> None:
    built = [member.build(size) for size in member.sizes]
    assert len(set(built)) == len(built) > 0
    assert all(architecture.kind == member.kind for architecture in built)


@each_family
def test_a_family_is_found_by_its_name_and_by_its_architecture(member: Family) -> None:
    assert family(member.name) is member
    size = next(iter(member.sizes))
    # A size may lack what its family has, such as heads for pretraining alone.
    lacking = {name: member.traits[name] for name in member.sizes[size] if name in member.traits}
    found = closest(member.build(size, **lacking))
    assert dict(found.traits) == dict(member.traits)


def test_an_unknown_family_is_an_error_that_names_the_known() -> None:
    with pytest.raises(SpecError, match=r"family: name='elman' is not in the tree; use one of transformer, .*gpt2"):
        family("elman")


def test_lineage() -> None:
    assert {child.name: child.parent.name for child in catalogue() if child.parent}.items() >= {
        "bert": "transformer",
        "t5": "transformer",
        "gpt2": "gpt",
        "t5-v1.1": "t5",
        "llama": "gpt2",
        "llama2": "llama",
    }.items()


def test_facts_that_are_often_told_wrong() -> None:
    assert TRANSFORMER.build().feedforward == Plain("relu")
    assert GPT2.build("117M").vocab_size == 50_257
    assert {type(member.build().stacks) for member in (TRANSFORMER, T5, T5_V1_1)} == {EncoderDecoder}
    assert isinstance(BERT.build().stacks, Encoder)
    assert isinstance(LLAMA.build().stacks, Decoder)
    assert (T5.build().attention_scale, T5_V1_1.build().feedforward) == (1.0, Gated("gelu_tanh"))
    assert [LLAMA2.build(size).n_kv_heads for size in ("7B", "13B", "70B")] == [32, 40, 8]
    assert (LLAMA.context, LLAMA2.context) == (2048, 4096)


def test_what_a_network_is_needs_no_torch() -> None:
    program = (
        "import sys, stemma.spec, stemma.spec.count, stemma.families, stemma.families.picture, stemma.text;"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'transformers'}))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
