"""Who moves how."""

from __future__ import annotations

import pytest
import torch

from stemma.errors import InputError
from stemma.families import ULMFIT
from stemma.nn import build
from stemma.training import AdamW, Cosine, Linear, Muon, train
from stemma.training.average import Average
from stemma.training.optimisers import learning, set_rate

from .small import Kept, learner, plan


def test_vectors_do_not_decay() -> None:
    one = learner()
    (optimiser,) = AdamW(weight_decay=0.3).build(one)
    decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in learning(one).items():
        assert decays[id(parameter)] == (0.3 if parameter.ndim > 1 else 0.0), name


def test_muon_moves_the_matrices_of_blocks() -> None:
    one = learner()
    muon, rest = Muon().build(one)
    names = {id(parameter): name for name, parameter in learning(one).items()}
    moved = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    assert moved == {
        name for name in names.values() if ".blocks." in name and "norm" not in name and "bias" not in name
    }
    others = {names[id(p)] for group in rest.param_groups for p in group["params"]}
    assert moved | others == set(names.values())
    assert not moved & others


def test_muon_needs_blocks() -> None:
    with pytest.raises(InputError, match="there are none; use AdamW"):
        Muon().build(build(ULMFIT.build(), seed=None, device="meta"))


@pytest.mark.parametrize("optimiser", [AdamW(lr=1e-2), Muon(lr=1e-2, rest=AdamW(lr=1e-2))], ids=["adamw", "muon"])
def test_it_learns(optimiser: AdamW | Muon) -> None:
    kept = Kept()
    train(learner(), plan(steps=30, optimiser=optimiser, schedule=Cosine(warmup=3)), trackers=[kept])
    losses = kept.figure()
    assert losses[30] < losses[1] - 1.0


def test_one_step_is_torchs_own() -> None:
    """The loop's step against a plain one, clipped and at the schedule's rate."""
    one, other = learner(), learner()
    of = plan(steps=1, clip=0.1, schedule=Linear(warmup=1), optimiser=AdamW(lr=0.02, fused=False, weight_decay=0.0))
    train(one, of)
    lesson = other.lessons[0]
    batch = lesson.batch(range(8))
    loss = other(0, batch)["next"] / len(batch.asked["next"])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(other.parameters(), 0.1)
    torch.optim.AdamW(other.parameters(), lr=0.02, betas=(0.9, 0.95), weight_decay=0.0).step()
    for name, parameter in one.named_parameters():
        torch.testing.assert_close(parameter, dict(other.named_parameters())[name], atol=2e-6, rtol=0, msg=name)


def test_rates_follow_the_schedule() -> None:
    kept, of = Kept(), plan(steps=6, schedule=Linear(warmup=2))
    train(learner(), of, trackers=[kept])
    assert kept.figure("rate") == {step + 1: 1e-2 * of.schedule.factor(step, 6) for step in range(6)}
    optimisers = Muon(lr=0.5, rest=AdamW(lr=0.25)).build(learner())
    assert set_rate(optimisers, 0.5) == 0.25
    assert set_rate(optimisers, 1.0) == 0.5
    assert {group["lr"] for group in optimisers[1].param_groups} == {0.25}


def test_the_average_is_its_recurrence() -> None:
    weight = torch.zeros(3)
    average, expected = Average({"w": weight}, 0.5), torch.zeros(3)
    for step in range(20):
        weight += 1.0
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(average.tensors["w"], expected)
    with average.worn():
        torch.testing.assert_close(weight, expected)
    assert torch.equal(weight, torch.full((3,), 20.0))
