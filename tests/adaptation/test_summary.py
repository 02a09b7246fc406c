"""What is told before an adaptation starts."""

from __future__ import annotations

import pytest
import torch

from stemma.adaptation import (
    Adapters,
    BitFit,
    Frozen,
    Full,
    GradualUnfreezing,
    LoRA,
    Quantised,
    TopLayers,
    attach,
    summary,
)
from stemma.families.bert import BERT
from stemma.nn import build
from stemma.spec import Family

from .choices import each_network, family_of, network


@each_network
def test_full_tuning_is_full_tuning(family: Family) -> None:
    """Against itself full tuning takes all of everything, on every family."""
    model = network(family)
    attach(model, {"it": Full()})
    found = summary(model, {"it": Full()}, length=8, batch=2)
    assert (found.trained, found.share) == (sum(part.numel() for part in model.parameters()), 1.0)
    assert found.flops == pytest.approx(found.full_flops)
    assert found.memory == found.full_memory


def test_figures_of_bert_base() -> None:
    """Of BERT's usual size: counts that follow from its widths, and operations near two thirds of full tuning."""
    model = build(BERT.build(), seed=None, device="meta")
    value = LoRA(rank=8)
    attach(model, {"it": value})
    found = summary(model, {"it": value})
    assert found.trained == 12 * 2 * 2 * 8 * 768
    assert found.share < 0.003
    assert 0.65 < found.flops / found.full_flops < 0.7
    assert found.memory.total < 0.7 * found.full_memory.total
    assert "trained parameters" in str(found)


def test_less_learns_less_is_computed() -> None:
    """Operations and memory fall from full tuning to frozen: what lies below all that learns is not kept."""
    spec = BERT.build(n_layers=6, d_model=64, n_heads=4, vocab_size=100)
    values = (
        Full(),
        GradualUnfreezing(),
        Adapters(width=8),
        BitFit(),
        TopLayers(layers=2),
        TopLayers(layers=1),
        Frozen(),
    )
    found = []
    for value in values:
        model = build(spec, seed=None, device="meta")
        attach(model, {"it": value}, heads=["pooler"])
        found.append(summary(model, {"it": value}, heads=["pooler"]))
    assert [one.flops for one in found] == sorted((one.flops for one in found), reverse=True)
    assert [one.memory.total for one in found][2:] == sorted((one.memory.total for one in found[2:]), reverse=True)
    assert found[-1].memory.activations == 0
    assert found[-2].memory.activations == pytest.approx(found[0].memory.activations / 6, rel=1e-3)


def test_integers_take_less() -> None:
    """A base of four bits weighs an eighth and its scales; its parameters still count."""
    model = network(family_of("bert"))
    plain = summary(model, {})
    attach(model, {"base": Quantised(bits=4), "low": LoRA()})
    packed = summary(model, {"base": Quantised(bits=4), "low": LoRA()})
    assert packed.total - plain.total == packed.trained
    assert packed.memory.weights < plain.memory.weights
    assert packed.full_memory.weights == plain.memory.weights
    assert all(isinstance(part, torch.nn.Parameter) for part in model.parameters())
