"""Counts against published numbers, against hand-made sums and against each other."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.errors import InputError
from stemma.families import BERT, GPT2, LLAMA, LLAMA2, T5, catalogue
from stemma.spec import (
    NO_BIAS,
    Architecture,
    Encoder,
    EncoderDecoder,
    Gated,
    MaskedLMHead,
    Pooler,
    PreNorm,
    RelativeSinusoidal,
    RMSNorm,
    Rotary,
    SlidingWindow,
    costs,
    count,
)
from stemma.spec.windows import TRIM

TABLE = Path(__file__).resolve().parents[3] / "shared" / "families.csv"
FAMILIES = {family.name: family for family in catalogue()}


def rows() -> list[Any]:
    """The published numbers of every family that stands in the tree."""
    if not TABLE.is_file():
        return [pytest.param({}, marks=pytest.mark.skip(reason=f"no table of published numbers at {TABLE}"))]
    with TABLE.open(encoding="utf-8", newline="") as lines:
        known = list(csv.DictReader(lines))
    return [pytest.param(row, id=f"{row['family']} {row['size']}") for row in known]


@pytest.mark.parametrize("row", rows())
def test_every_published_number_is_exact(row: dict[str, str]) -> None:
    assert count.parameters(FAMILIES[row["family"]].build(row["size"])) == int(row["parameters"])


@pytest.mark.parametrize(
    ("architecture", "published"),
    [
        (BERT.build("base", heads=(Pooler(),)), 109_482_240),
        (BERT.build("base", heads=BERT.traits["heads"]), 110_106_428),
        (GPT2.build("117M"), 124_439_808),
        (GPT2.build("1542M"), 1_557_611_200),
        (T5.build("small"), 60_506_624),
        (T5.build("11B"), 11_307_321_344),
        (LLAMA.build("7B"), 6_738_415_616),
        (LLAMA2.build("70B"), 68_976_648_192),
    ],
)
def test_known_numbers(architecture: Architecture, published: int) -> None:
    assert count.parameters(architecture) == published


def test_the_table_names_what_holds_the_parameters() -> None:
    tiny = Architecture(
        n_layers=3,
        d_model=10,
        n_heads=4,
        n_kv_heads=2,
        d_head=6,
        d_ff=14,
        vocab_size=11,
        position=Rotary(),
        placement=PreNorm(),
        norm=RMSNorm(),
        feedforward=Gated(),
        bias=NO_BIAS,
    )
    assert count.parameter_table(tiny) == {
        "embeddings": 11 * 10,
        "inputs": 0,
        "positions": 0,
        "attention": 3 * (2 * 10 * 24 + 2 * 10 * 12),
        "cross_attention": 0,
        "feedforward": 3 * 3 * 10 * 14,
        "experts": 0,
        "norms": 7 * 10,
        "heads": 0,
        "vision": 0,
        "modules": 0,
    }


def test_flops_of_a_known_model() -> None:
    """Twice the weights and all scores (Hoffmann et al. 2022, appendix F, without embeddings and softmax)."""
    tokens, gpt2 = 1024, GPT2.build("117M")
    block = 4 * 768 * 768 + 2 * 768 * 3072
    wanted = 2 * tokens * (12 * block + 768 * 50_257) + 12 * 4 * tokens * tokens * 768
    assert costs.forward_flops(gpt2, tokens) == wanted
    assert costs.training_flops(gpt2, tokens) == 3 * wanted


def test_heads_read_every_position_or_the_first() -> None:
    bare = BERT.build("base", heads=())
    cost = {
        head: costs.forward_flops(bare.change(heads=(head,)), 7) - costs.forward_flops(bare, 7)
        for head in (Pooler(), MaskedLMHead())
    }
    assert cost == {Pooler(): 2 * 768 * 768, MaskedLMHead(): 2 * 7 * 768 * (768 + 30_522)}


@given(data=st.data(), lengths=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_flops_add_up(
    architectures: st.SearchStrategy[Architecture], data: st.DataObject, lengths: tuple[int, int]
) -> None:
    """Encoding and then decoding costs what both cost at once, and n tokens n times one."""
    # Relative attention maps the sinusoids of all distances once a pass, not once a token.
    relative = architectures.filter(lambda one: not isinstance(one.position, RelativeSinusoidal))
    architecture, (source, target) = data.draw(relative), lengths
    match architecture.stacks:
        case EncoderDecoder():
            encoding = costs.forward_flops(architecture, (source, 0))
            step = costs.forward_flops(architecture, (0, 1), context=lengths)
            assert costs.forward_flops(architecture, lengths) == encoding + target * step
        case _:
            body = architecture.change(heads=())
            step = costs.forward_flops(body, 1, context=source)
            assert costs.forward_flops(body, source) == source * step


@given(data=st.data())
def test_the_parts_are_the_whole(architectures: st.SearchStrategy[Architecture], data: st.DataObject) -> None:
    architecture = data.draw(architectures)
    table = count.parameter_table(architecture)
    assert count.parameters(architecture) == sum(table.values())
    assert min(table.values()) >= 0


def test_a_cache_of_known_size() -> None:
    assert costs.cache_bytes(LLAMA.build("7B"), 2048, "float16") == 2**30
    assert costs.cache_bytes(LLAMA2.build("70B"), 1, "bfloat16") == 320 * 1024  # 8 groups instead of 64 heads


def test_a_window_bounds_the_cache_and_the_scores() -> None:
    wide = LLAMA.build("7B")
    narrow = wide.change(attention=SlidingWindow(100))
    assert costs.cache_bytes(narrow, 5000, "float16") == costs.cache_bytes(wide, 100 + 2 * TRIM, "float16")
    assert costs.cache_bytes(narrow, 60, "float16") == costs.cache_bytes(wide, 60, "float16")
    assert costs.forward_flops(narrow, 1, context=5000) == costs.forward_flops(wide, 1, context=100)


def test_cross_attention_keeps_the_source_and_an_encoder_nothing() -> None:
    token = 2 * 6 * 8 * 64 * 4
    assert costs.cache_bytes(T5.build("small"), (30, 4), "float32") == 34 * token
    assert costs.cache_bytes(BERT.build("base"), 512, "float32") == 0


@pytest.mark.parametrize(("dtype", "size"), costs.BYTES.items())
def test_weights_take_their_type_s_bytes(dtype: str, size: int) -> None:
    assert costs.weight_bytes(GPT2.build("117M"), dtype) == 124_439_808 * size


ENCODER = Architecture(n_layers=1, d_model=4, n_heads=1, vocab_size=5, stacks=Encoder(), heads=())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: costs.forward_flops(T5.build("small"), 5), ("tokens=5", "(source, target)", "write tokens=(128, 32)")),
        (lambda: costs.forward_flops(ENCODER, (5, 5)), ("encoder-only", "tokens=(5, 5)", "write tokens=128")),
        (lambda: costs.forward_flops(ENCODER, -1), ("tokens=-1", "one length")),
        (lambda: costs.forward_flops(ENCODER, 5, context=4), ("context=4", "must hold the tokens computed", "leave")),
        (lambda: costs.cache_bytes(ENCODER, 5, "int3"), ("dtype='int3'", "is unknown", "bfloat16")),
        (lambda: costs.weight_bytes(ENCODER, "half"), ("dtype='half'", "is unknown", "float16")),
    ],
)
def test_bad_input_is_named(call: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value
