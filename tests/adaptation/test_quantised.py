"""A base that is held as integers, and what is put on it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stemma.adaptation import Full, LoRA, Quantised, attach, merge, roles
from stemma.adaptation.packed import PackedLinear, pack
from stemma.errors import InputError
from stemma.nn.linears import Linear
from stemma.spec import Family

from ..tiny import apart
from ..tolerances import FP64
from .choices import copies, each_transformer, family_of, loss, network, outputs


def linear(rows: int = 12, columns: int = 70) -> Linear:
    """A map with random values."""
    made = Linear(columns, rows)
    with torch.no_grad():
        made.weight.normal_(generator=torch.Generator().manual_seed(1))
        made.bias.normal_(generator=torch.Generator().manual_seed(2))
    return made


@pytest.mark.parametrize(("bits", "group"), [(8, 64), (4, 64), (4, 16), (8, 70)])
def test_each_weight_is_rounded_to_its_scale(bits: int, group: int) -> None:
    """No weight moves by more than half a step, and the largest of each group not at all."""
    plain = linear()
    packed = linear()
    pack(packed, bits, group)
    assert isinstance(packed, PackedLinear)
    for start in range(0, 70, group):
        before, after = plain.weight[:, start : start + group], packed.weight[:, start : start + group]
        largest = before.abs().amax(1, keepdim=True)
        step = largest / (2 ** (bits - 1) - 1)
        assert bool(((before - after).abs() <= step * 0.5001).all())
        assert apart(before[before.abs() == largest], after[before.abs() == largest]) < 1e-6
    pad = -70 % group
    assert packed.integers.numel() == 12 * (70 + pad) * bits // 8


def test_gradients_pass_through_it() -> None:
    """The gradient of the input, and of the offset, is that of a plain map with the rounded weight."""
    packed = linear().double()
    pack(packed, 4, 16)
    plain = linear().double()
    with torch.no_grad():
        plain.weight.copy_(packed.weight)
    x = torch.randn(5, 70, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    found = torch.autograd.grad(packed(x).square().sum(), [x, packed.bias])
    expected = torch.autograd.grad(plain(x).square().sum(), [x, plain.bias])
    assert max(apart(one, other) for one, other in zip(found, expected, strict=True)) < FP64


def test_nothing_of_the_weight_is_kept_for_the_way_back() -> None:
    """What the graph holds is the map, not its weight in floating point."""
    packed = linear()
    pack(packed, 8, 64)
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        packed(torch.ones(2, 70, requires_grad=True)).sum().backward()
    assert all(tensor.shape != (12, 70) for tensor in kept)


@each_transformer
def test_lora_learns_on_it(family: Family) -> None:
    """On every family: little changes, memory falls, LoRA's first outputs are the base's, and only LoRA learns."""
    model = network(family)
    size = sum(part.numel() for part in roles(model, ("*",)).values() for part in [part.weight])
    before = outputs(model)
    attach(model, {"base": Quantised(bits=8, group=8)})
    maps = roles(model, ("*",))
    assert all(isinstance(one, PackedLinear) for one in maps.values())
    assert sum(one.integers.numel() for one in maps.values()) < size * 1.6
    rounded = outputs(model)
    if family.traits["experts"] is None:  # which expert runs may change
        assert max(apart(one, other) for one, other in zip(before, rounded, strict=True)) < 0.3
    learned = attach(model, {"low": LoRA(rank=2)})
    assert all(torch.equal(one, other) for one, other in zip(rounded, outputs(model), strict=True))
    held = copies(model.named_buffers())
    loss(model.train()).backward()
    assert {path for path, part in model.named_parameters() if part.grad is not None} <= set(learned)
    assert all(torch.equal(held[path], part) for path, part in model.named_buffers())


def test_it_is_not_merged_into() -> None:
    """Integers cannot take a change in; the error says what to do."""
    model: Any = network(family_of("bert"))
    attach(model, {"base": Quantised(), "low": LoRA()})
    with pytest.raises(InputError, match="load the network anew in floating point"):
        merge(model, "low")
    learned = attach(model, {"rest": Full()})
    assert "encoder.blocks.0.attention.query.weight" not in learned


def test_its_values_are_checked() -> None:
    """Bits and groups that cannot be, and a network without maps in blocks, are refused."""
    with pytest.raises(InputError, match="must be 8 or 4"):
        attach(network(family_of("bert")), {"base": Quantised(bits=3, group=7)})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="have no linear maps in a recurrent network"):
        attach(network(family_of("elmo")), {"base": Quantised()})
