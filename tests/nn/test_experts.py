"""Mixtures of experts: only what is chosen runs, gradients reach what ran, and the losses are the published ones."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from stemma.families import LLAMA2, family
from stemma.nn import Model
from stemma.nn.experts import Mixture, Routing, load_balancing_loss, router_z_loss, routing_statistics
from stemma.spec.count import active_parameters, parameters
from stemma.spec.parts import Experts

from ..tiny import apart, random_model, random_tokens, tiny
from ..tolerances import FP32, FP64

MIXTRAL = family("mixtral")


def _routed(experts: Experts, dtype: torch.dtype = torch.float64, **sizes: Any) -> Model:
    return random_model(tiny(LLAMA2, experts=experts, **sizes), dtype=dtype)


def _mixtures(model: Model) -> list[Mixture]:
    return [module for module in model.modules() if isinstance(module, Mixture)]


def _routings(n_layers: int = 3, seed: int = 0) -> tuple[Routing, ...]:
    generator = torch.Generator().manual_seed(seed)
    logits = [torch.randn(2, 7, 5, generator=generator) for _ in range(n_layers)]
    return tuple(Routing(each, each.topk(2, -1).indices) for each in logits)


@pytest.mark.parametrize("experts", [Experts(5, 2), Experts(5, 1, normalised=False), Experts(5, 3, normalised=False)])
def test_the_output_is_the_weighted_sum_of_the_chosen(experts: Experts) -> None:
    [mixture] = _mixtures(_routed(experts, n_layers=1))
    x = torch.randn(2, 7, mixture.router.in_features, dtype=torch.float64)
    routings: list[Routing] = []
    got = mixture(x, routings)
    for row, place in torch.cartesian_prod(torch.arange(2), torch.arange(7)).tolist():
        token = x[row, place]
        shares = mixture.router(token).softmax(-1)
        best = shares.argsort(descending=True)[: experts.n_active]
        assert torch.equal(routings[0].chosen[row, place], best)
        total = shares[best].sum() if experts.normalised else 1.0
        expected = sum(shares[number] / total * mixture.experts[number](token[None, None])[0, 0] for number in best)
        assert apart(got[row, place], expected) <= FP64


@pytest.mark.parametrize("n_experts", [2, 4, 8, 16])
@pytest.mark.parametrize("n_active", [1, 2])
def test_a_token_costs_what_the_dense_model_of_the_active_size_costs(n_experts: int, n_active: int) -> None:
    """Dense networks of the same inner width where one expert runs, of twice the width where two run."""
    sizes = dict(n_layers=2, d_model=128, n_heads=4, vocab_size=37)
    dense = LLAMA2.build(**sizes, d_ff=512)
    sparse = LLAMA2.build(**sizes, d_ff=512 // n_active, experts=Experts(n_experts, n_active))
    flops = {}
    for name, spec in {"dense": dense, "sparse": sparse}.items():
        model, counter = Model(spec), FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            model(random_tokens(2, 16))
        flops[name] = counter.get_total_flops()
    assert 1 < flops["sparse"] / flops["dense"] <= 1.05


def test_a_single_token_runs_the_chosen_experts_and_no_other() -> None:
    model = _routed(Experts(6, 2))
    ran: list[str] = []
    for layer, mixture in enumerate(_mixtures(model)):
        for number, expert in enumerate(mixture.experts):
            expert.register_forward_hook(lambda *_, name=f"{layer}.{number}": ran.append(name))
    with torch.no_grad():
        cache = model.new_cache(1, 1)
        model.decode(random_tokens(1, 1), cache=cache)
    assert len(ran) == len({*ran}) == 3 * 2


def test_gradients_reach_the_router_and_the_chosen_experts_alone() -> None:
    for experts in (Experts(6, 2), Experts(6, 1, normalised=False)):
        model = _routed(experts)
        output = model(random_tokens(1, 1), routings=True)
        output.logits.square().sum().backward()
        for mixture, routing in zip(_mixtures(model), output.routings, strict=True):
            assert mixture.router.weight.grad.abs().max() > 0
            chosen = set(routing.chosen.flatten().tolist())
            for number, expert in enumerate(mixture.experts):
                assert all((part.grad is not None) == (number in chosen) for part in expert.parameters())


def test_a_single_normalised_expert_teaches_its_router_nothing() -> None:
    """Why Switch keeps the probability: divided by itself it is 1, whatever the router does."""
    model = _routed(Experts(6, 1, normalised=True))
    model(random_tokens(1, 5)).logits.square().sum().backward()
    assert all(mixture.router.weight.grad.abs().max() <= FP64 for mixture in _mixtures(model))


def test_every_second_block_has_experts() -> None:
    model = _routed(Experts(4, 2, every=2), n_layers=5)
    assert [isinstance(block.feedforward, Mixture) for block in model.decoder.blocks] == [False, True] * 2 + [False]
    assert len(model(random_tokens(1, 3), routings=True).routings) == 2


@pytest.mark.parametrize("precision", ["weights", "autocast"])
def test_half_precision(precision: str) -> None:
    full = _routed(Experts(4, 2), torch.float32)
    tokens = random_tokens(2, 9)
    expected = full(tokens, routings=True)
    model = full.to(torch.bfloat16) if precision == "weights" else full
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        got = model(tokens, routings=True)
    same = (got.routings[0].chosen == expected.routings[0].chosen).all(-1)
    assert got.logits.dtype == torch.bfloat16
    assert same.float().mean() > 0.9, "rounding turns few choices"
    assert got.logits.isfinite().all()


@pytest.mark.parametrize("padded", [False, True])
def test_the_balancing_loss_is_mixtrals(padded: bool) -> None:
    routings = _routings()
    mask = torch.arange(7) < torch.tensor([[7], [4]]) if padded else None
    theirs = load_balancing_loss_func(
        tuple(routing.logits.flatten(0, 1) for routing in routings), num_experts=5, top_k=2, attention_mask=mask
    )
    assert apart(load_balancing_loss(routings, mask), torch.as_tensor(theirs)) <= FP32 / 10


def test_the_balancing_loss_is_least_where_experts_are_chosen_alike() -> None:
    even = Routing(torch.zeros(1, 5, 5), torch.arange(5)[None, :, None])
    uneven = Routing(torch.tensor([[[9.0, 0, 0, 0, 0]] * 5]), torch.zeros(1, 5, 1, dtype=torch.long))
    assert apart(load_balancing_loss([even]), torch.tensor(1.0)) <= FP32
    assert load_balancing_loss([uneven]) > 4.9


def test_the_z_loss_is_as_written() -> None:
    routings = _routings()
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    every = [logits for routing in routings for logits in routing.logits.flatten(0, 1).tolist()]
    expected = sum(math.log(sum(map(math.exp, logits))) ** 2 for logits in every) / len(every)
    assert apart(router_z_loss(routings), torch.tensor(expected)) <= FP32
    assert (
        apart(router_z_loss(routings, mask), router_z_loss([Routing(r.logits[mask][None], r.chosen) for r in routings]))
        == 0
    )


def test_the_losses_of_a_pass_pull_on_its_routers() -> None:
    model = _routed(Experts(4, 2))
    routings = model(random_tokens(2, 9), routings=True).routings
    (load_balancing_loss(routings) + router_z_loss(routings)).backward()
    assert all(mixture.router.weight.grad.abs().max() > 0 for mixture in _mixtures(model))


def test_statistics() -> None:
    sure = Routing(torch.tensor([[[50.0, 0, 0, 0]] * 3 + [[0.0, 50, 0, 0]]]), torch.tensor([[[0], [0], [0], [1]]]))
    unsure = Routing(torch.zeros(1, 4, 4), torch.arange(4)[None, :, None])
    found = routing_statistics([sure, unsure])
    assert found.share.tolist() == [[0.75, 0.25, 0, 0], [0.25] * 4]
    uneven = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert apart(found.entropy, torch.tensor([uneven, math.log(4)])) <= FP32
    assert apart(found.decision, torch.tensor([0.0, math.log(4)])) <= FP32
    first = routing_statistics([sure, unsure], torch.tensor([[True, False, False, True]]))
    assert first.share.tolist() == [[0.5, 0.5, 0, 0], [0.5, 0, 0, 0.5]]


def test_a_token_of_mixtral_meets_the_published_part_of_its_parameters() -> None:
    spec = MIXTRAL.build("8x7B")
    assert parameters(spec) == pytest.approx(46.7e9, rel=0.01)
    assert active_parameters(spec) == pytest.approx(12.9e9, rel=0.01)
