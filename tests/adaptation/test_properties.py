"""What holds for every family and every adaptation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stemma.adaptation import Adaptation, attach, detach, fold, load, merge, names, save, unmerge, using
from stemma.errors import InputError
from stemma.spec import Family
from stemma.spec.recurrent import Recurrent

from ..tiny import apart
from ..tolerances import FP32
from .choices import (
    ADDING,
    CHOOSING,
    copies,
    disturb,
    each_network,
    each_transformer,
    in_short,
    loss,
    network,
    outputs,
)

pytestmark = pytest.mark.sampled(3)


def furthest(before: list[torch.Tensor], after: list[torch.Tensor]) -> float:
    """The largest difference of two runs."""
    return max(apart(one, other) for one, other in zip(before, after, strict=True))


def adapted(family: Family, name: str) -> tuple[Any, list[torch.Tensor]]:
    """A network on which an adaptation does something, and what the network gave before."""
    model = network(family)
    before = outputs(model)
    attach(model, {"it": ADDING[name]})
    disturb(model, "it")
    return model, before


@each_transformer
@in_short(("lora", "dora", "houlsby", "parallel"), ADDING)
def test_nothing_changes_at_first(family: Family, name: str) -> None:
    """A fresh adaptation leaves every output as it was, bit for bit; once it has learned it does not, until it goes."""
    model = network(family)
    before = outputs(model)
    attach(model, {"it": ADDING[name]})
    assert furthest(before, outputs(model)) == 0.0
    disturb(model, "it")
    assert furthest(before, outputs(model)) > FP32
    with using():
        assert furthest(before, outputs(model)) == 0.0
    detach(model, "it")
    assert furthest(before, outputs(model)) == 0.0
    assert names(model) == ()


@each_transformer
@in_short(("lora", "dora"), ("lora", "rslora", "dora"))
def test_merged_is_unmerged(family: Family, name: str) -> None:
    """Merged, folded and attached give the same; unmerged, the weights are bit for bit what they were."""
    model, _ = adapted(family, name)
    weights, attached = copies(model.named_parameters()), outputs(model)
    merge(model, "it")
    assert furthest(attached, outputs(model)) < FP32
    with using():
        assert furthest(attached, outputs(model)) < FP32
    unmerge(model, "it")
    assert all(torch.equal(weights[path], parameter) for path, parameter in model.named_parameters())
    fold(model, "it")
    assert furthest(attached, outputs(model)) < FP32
    assert names(model) == ()
    assert {path for path, _ in model.named_parameters()} == {path for path in weights if ".changes." not in path}


@each_network
@in_short(("lora", "houlsby", "full", "top", "bitfit"))
def test_what_is_frozen_stays(family: Family, name: str) -> None:
    """After steps of training what does not learn is bit for bit what it was, and something that learns is not."""
    model = network(family)
    try:
        learned = attach(model, {"it": (ADDING | CHOOSING)[name]})
    except InputError:
        assert family.shape is Recurrent or name == "bitfit"
        return
    before = copies(model.named_parameters())
    assert {path for path, parameter in model.named_parameters() if parameter.requires_grad} == set(learned)
    if not learned:
        assert name == "frozen"
        return
    optimiser = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=0.01)
    if not loss(model).requires_grad:
        assert family.traits["vision"], "only what reads images learns"
        return
    for _ in range(3):
        optimiser.zero_grad()
        loss(model.train()).backward()
        optimiser.step()
    moved = {path for path, parameter in model.named_parameters() if not torch.equal(before[path], parameter)}
    assert moved
    assert moved <= set(learned)


@each_network
@in_short(("dora", "houlsby", "frozen", "bitfit"))
def test_saved_alone_and_loaded_onto_a_fresh_base(family: Family, name: str, tmp_path: Path) -> None:
    """The folder holds what learned and nothing else; on a fresh base it gives the same outputs, bit for bit."""
    value: Adaptation = (ADDING | CHOOSING)[name]
    model = network(family)
    try:
        learned = attach(model, {"it": value})
    except InputError:
        assert family.shape is Recurrent or name == "bitfit"
        return
    if not learned:
        with pytest.raises(InputError, match="has no parameters"):
            save(model, "it", value, tmp_path / "saved")
        assert not any(tmp_path.iterdir())
        return
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for path in learned:
            parameter = model.get_parameter(path)
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    save(model, "it", value, tmp_path / "saved")
    fresh = network(family)
    assert load(fresh, tmp_path / "saved", "other").adaptation == value
    assert furthest(outputs(model), outputs(fresh)) == 0.0


@each_transformer
def test_two_do_not_touch_each_other(family: Family) -> None:
    """Each alone gives what it gives on a base of its own, in whichever order they came and whatever is merged."""
    alone = {}
    for name in ("dora", "houlsby", "lora"):
        model, _ = adapted(family, name)
        alone[name] = outputs(model)
    both = network(family)
    for name in ("lora", "houlsby", "dora"):
        attach(both, {name: ADDING[name]})
        disturb(both, name)
    for name, expected in alone.items():
        with using(name):
            assert furthest(expected, outputs(both)) < FP32
    merge(both, "lora")
    merge(both, "dora")
    unmerge(both, "lora")
    with using():
        assert furthest(alone["dora"], outputs(both)) < FP32
    detach(both, "dora")
    with using("lora"):
        assert furthest(alone["lora"], outputs(both)) < FP32
