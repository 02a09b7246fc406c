"""A packed model gives what the unpacked one gives, whatever is done to it afterwards."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import nn

from stemma.families import family as family_named
from stemma.nn import Model, Output, PackedProducts
from stemma.spec import Family

from ..tiny import apart, each_family, random_model, random_tokens, results, scramble, tiny
from ..tiny import run as run_plainly
from ..tolerances import FP32, FP64

TOKENS = random_tokens(2, 9)


def run(model: Model, tokens: torch.Tensor) -> Output:
    """A pass that may run on the packed copy."""
    with PackedProducts():
        return run_plainly(model, tokens)


def _agree(model: Model, fresh: Model, tolerance: float = FP32) -> None:
    """Both give the same; `fresh` was never packed."""
    for name, expected in results(run(fresh, TOKENS)).items():
        scale = max(1.0, float(expected.abs().max()))
        assert apart(results(run(model, TOKENS))[name], expected) <= tolerance * scale, name


@each_family
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, FP32), (torch.float64, FP64)])
def test_packing_changes_no_value(family: Family, dtype: torch.dtype, tolerance: float) -> None:
    model = random_model(tiny(family), dtype=dtype)
    fresh = copy.deepcopy(model)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    _agree(model.pack(), fresh, tolerance)
    _agree(model.pack(), fresh, tolerance)
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def _write_in_place(model: Model) -> None:
    scramble(model, seed=1)


def _load(model: Model) -> None:
    model.load_state_dict(random_model(model.architecture, seed=2).state_dict())


def _load_by_assigning(model: Model) -> None:
    model.load_state_dict(random_model(model.architecture, seed=3).state_dict(), assign=True)


def _exchange_weights(model: Model) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.detach() * 1.5)


def _exchange_data(model: Model) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data * 0.9


def _drop_some_offsets(model: Model) -> None:
    for module in model.modules():
        if hasattr(module, "key"):
            module.key.bias = None
            module.output.bias = None


def _exchange_data_again_and_again(model: Model) -> None:
    """Memory that is given back is soon given out again, at the same address."""
    for _ in range(4):
        for parameter in model.parameters():
            shape, doubled = parameter.shape, (parameter.data * 0.97).clone()
            parameter.data = torch.empty(0)
            parameter.data = torch.empty(shape).copy_(doubled)


def _turn(model: Model) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.in_features == module.out_features:
            module.weight.data = module.weight.data.t()


def _exchange_offsets(model: Model) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias = nn.Parameter(module.bias.detach() + 1)


def _drop_offsets(model: Model) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.bias = None


def _exchange_maps(model: Model) -> None:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                torch.manual_seed(len(name))
                module.add_module(name, nn.Linear(child.in_features, child.out_features))


def _exchange_maps_for_others(model: Model) -> None:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name in ("query", "up", "down"):
                module.add_module(name, nn.Sequential(child, nn.Tanh()))


def _hook(model: Model) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: output * 1.5)


def _hook_the_input(model: Model) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))


def _train(model: Model) -> None:
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    model.train()
    torch.manual_seed(0)
    with torch.enable_grad():
        options = {"decoder_tokens": TOKENS} if model.encoder and model.decoder else {}
        model(TOKENS, **options).hidden.square().mean().backward()
    optimiser.step()
    model.eval()


def _through_a_file(model: Model) -> None:
    stored = io.BytesIO()
    torch.save(model, stored)
    stored.seek(0)
    model.load_state_dict(torch.load(stored, weights_only=False).state_dict())


CHANGES = [
    _write_in_place,
    _load,
    _load_by_assigning,
    _exchange_weights,
    _exchange_data,
    _exchange_data_again_and_again,
    _turn,
    _exchange_offsets,
    _drop_offsets,
    _drop_some_offsets,
    _exchange_maps,
    _exchange_maps_for_others,
    _hook,
    _hook_the_input,
    _train,
    _through_a_file,
]


@pytest.mark.slow
@each_family
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.lstrip("_"))
def test_a_packed_model_follows_its_weights(family: Family, change: Callable[[Model], None]) -> None:
    model = random_model(tiny(family, d_model=24))  # n_heads * d_head, so that some are square
    fresh = copy.deepcopy(model)
    run(model.pack(), TOKENS)
    change(model)
    change(fresh)
    _agree(model, fresh)
    _agree(model.pack(), fresh)


@each_family
def test_a_copy_is_independent(family: Family) -> None:
    model = random_model(tiny(family)).pack()
    before, twin = results(run(model, TOKENS)), copy.deepcopy(model)
    scramble(twin, seed=1)
    fresh = random_model(model.architecture, seed=1)
    _agree(twin, fresh)
    _agree(twin.pack(), fresh)
    assert all(torch.equal(value, before[name]) for name, value in results(run(model, TOKENS)).items())


@each_family
def test_a_packed_model_can_be_cast(family: Family) -> None:
    model = random_model(tiny(family))
    fresh = copy.deepcopy(model)
    run(model.pack(), TOKENS)
    _agree(model.to(torch.float64), fresh.to(torch.float64), FP64)
    _agree(model.to(torch.bfloat16), fresh.to(torch.bfloat16), 0.0)
    _agree(model.to(torch.float32).pack(), fresh.to(torch.float32))


# Parameters of what a pass on tokens alone does not read, or of experts that no token chose.
_UNREAD = (".experts.", "task_modules.", "heads.span.", "vision.", "segment", ".language", "two_streams.")


@each_family
def test_gradients_flow_through_a_packed_model(family: Family) -> None:
    model = random_model(tiny(family))
    fresh = copy.deepcopy(model)
    run(model.pack(), TOKENS)
    for one in (model, fresh):
        options = {"decoder_tokens": TOKENS} if one.encoder and one.decoder else {}
        with PackedProducts():
            output = one(TOKENS, **options)
        sum(value.square().sum() for value in results(output).values()).backward()
    for (name, packed), expected in zip(model.named_parameters(), fresh.parameters(), strict=True):
        if expected.grad is None:
            assert packed.grad is None, name
            assert any(part in name for part in _UNREAD), name
        else:
            assert torch.equal(packed.grad, expected.grad), name


@each_family
def test_a_packed_model_runs_under_autocast(family: Family) -> None:
    model = random_model(tiny(family))
    fresh = copy.deepcopy(model)
    model.pack()
    with torch.autocast("cpu", torch.bfloat16):
        for name, expected in results(run(fresh, TOKENS)).items():
            assert torch.equal(results(run(model, TOKENS))[name], expected), name


def test_an_empty_input_gives_an_empty_output() -> None:
    model = random_model(tiny(family_named("gpt2"))).pack()
    assert run(model, TOKENS[:0]).hidden.shape == (0, 9, model.architecture.d_model)


def test_a_plain_call_does_not_run_on_the_copy() -> None:
    model = random_model(tiny(family_named("llama"))).eval()
    before = run_plainly(model, TOKENS)
    assert torch.equal(run_plainly(model.pack(), TOKENS).hidden, before.hidden)
    serving = [module.ending._packed for module in model.modules() if hasattr(module, "ending")]
    assert serving
    assert all(packed._checked_in is None for packed in serving)
    run(model, TOKENS)
    assert all(packed._checked_in is not None for packed in serving)
