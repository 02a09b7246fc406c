"""The arithmetic against networks that stand: their parameters, their operations, their caches."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stemma.nn import Model
from stemma.spec import Architecture, BlockPositions, EncoderDecoder, Family, Full, Learned, costs, count

from ..tiny import each_family, small_parts

# What the table calls a part, and the names of the parameters that it counts: the first that is found.
PARTS = {
    "vision": r"^vision\.",
    "modules": r"^task_modules\.",
    "heads": r"^heads\.",
    "experts": r"\.(experts|router)\.",
    "cross_attention": r"\.cross_attention\.",
    "positions": r"^(embeddings|decoder_additions)\.(block_)?position\.|\.relative_bias\.|\.next_position\.",
    "inputs": r"^(embeddings|decoder_additions)\.(segment|language|task|norm|(early_)?widening)\.|\.narrowing\.",
    "embeddings": r"^embeddings\.token\.|\.masked$",
    "feedforward": r"\.feedforward\.",
    "attention": r"\.attention\.",
    "norms": r"norm\.(weight|bias)$",
}


def check_parameters(architecture: Architecture) -> None:
    """Part by part, without memory for a single one of them."""
    counted = dict.fromkeys(count.parameter_table(architecture), 0)
    for name, parameter in Model(architecture, seed=None, device="meta").named_parameters():
        part = next(part for part, mark in PARTS.items() if re.search(mark, name))
        counted[part] += parameter.numel()
    assert counted == dict(count.parameter_table(architecture))


@each_family
def test_every_published_size_has_its_parameters(family: Family) -> None:
    for size in family.sizes:
        check_parameters(family.build(size))


@each_family
@given(data=st.data())
def test_every_size_has_its_parameters(family: Family, data: st.DataObject) -> None:
    group, n_kv_heads, half = (data.draw(st.integers(1, 4)) for _ in range(3))
    d_model = 4 * group * n_kv_heads * half  # a part of a head may turn in pairs
    sizes = dict(n_heads=group * n_kv_heads, n_kv_heads=n_kv_heads, d_model=d_model)
    optional = {name: data.draw(st.integers(1, 50)) for name in ("d_ff",) if data.draw(st.booleans())}
    check_parameters(family.build(n_layers=data.draw(st.integers(1, 3)), **small_parts(family, 7), **sizes, **optional))


@given(data=st.data())
def test_every_architecture_has_its_parameters(
    architectures: st.SearchStrategy[Architecture], data: st.DataObject
) -> None:
    check_parameters(data.draw(architectures))


def flops(call: Callable[[], Any]) -> int:
    """What the products in a call cost; the plain kernel is taken, since its products are visible ones."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        call()
    return counter.get_total_flops()


def tokens(n: int) -> torch.Tensor:
    return torch.zeros(1, n, dtype=torch.long)


@given(data=st.data(), lengths=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_a_forward_pass_costs_what_is_counted(
    architectures: st.SearchStrategy[Architecture], data: st.DataObject, lengths: tuple[int, int]
) -> None:
    architecture = seeing_all(data.draw(architectures))
    model = Model(architecture).eval()
    if isinstance(architecture.stacks, EncoderDecoder):
        source, target = (tokens(length) for length in lengths)
        counted = costs.forward_flops(architecture, lengths)
        assert flops(lambda: model(source, decoder_tokens=target)) == counted
    else:
        assert flops(lambda: model(tokens(lengths[0]))) == costs.forward_flops(architecture, lengths[0])


@given(data=st.data(), lengths=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_a_step_on_a_cache_costs_what_is_counted(
    architectures: st.SearchStrategy[Architecture], data: st.DataObject, lengths: tuple[int, int]
) -> None:
    architecture = seeing_all(data.draw(architectures.filter(lambda any_: any_.n_decoder_layers > 0)))
    model, (source, past) = Model(architecture).eval(), lengths
    pair = isinstance(architecture.stacks, EncoderDecoder)
    with torch.no_grad():
        cache = model.new_cache(1, past + 1, memory=model.encode(tokens(source)) if pair else None)
        model.decode(tokens(past), cache=cache)
    wanted = (
        costs.forward_flops(architecture, (0, 1), context=(source, past + 1))
        if pair
        else costs.forward_flops(architecture, 1, context=past + 1)
    )
    assert flops(lambda: model.decode(tokens(1), cache=cache)) == wanted


def seeing_all(architecture: Architecture) -> Architecture:
    """Without what the plain kernel computes in vain, and with positions enough."""
    position = architecture.position
    if isinstance(position, Learned | BlockPositions):
        position = replace(position, max_positions=16)
    return architecture.change(attention=Full(), position=position)


@given(data=st.data(), dtype=st.sampled_from(["float64", "float32", "bfloat16"]))
def test_a_cache_takes_what_is_counted(
    architectures: st.SearchStrategy[Architecture], data: st.DataObject, dtype: str
) -> None:
    """Seen from the tensors that a model's cache holds."""
    architecture = seeing_all(data.draw(architectures.filter(lambda any_: any_.n_decoder_layers > 0)))
    model = Model(architecture, dtype=getattr(torch, dtype)).eval()
    pair = isinstance(architecture.stacks, EncoderDecoder)
    with torch.no_grad():
        cache = model.new_cache(1, 5, memory=model.encode(tokens(3)) if pair else None)
    crossing = cache.memory.layers if cache.memory is not None else ()
    inner = cache.module.layers if cache.module is not None else ()
    held = [tensor for layer in (*cache.layers, *inner, *crossing) for tensor in (layer.keys, layer.values)]
    counted = costs.cache_bytes(architecture, (3, 5) if pair else 5, dtype)
    assert sum(tensor.numel() * tensor.element_size() for tensor in held) == counted
