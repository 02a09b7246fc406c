"""First values: of the size that each family's paper or code gives them, and settled by the seed."""

from __future__ import annotations

import math

import pytest
import torch

from stemma.nn import Model
from stemma.spec import Architecture, Family
from stemma.spec.ends import LanguageModelHead
from stemma.spec.training import FanIn, Normal, XavierUniform

from ..tiny import each_family, tiny
from ..tolerances import DEVIATIONS

# The deviation of a standard normal that is drawn again beyond two.
_CUT = math.sqrt(1 - 2 * 2 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


def _wide(family: Family) -> Architecture:
    return tiny(family, d_model=48, d_head=12, d_ff=88, vocab_size=211)


def _deviation(name: str, shape: torch.Size, spec: Architecture) -> float:
    """What the paper says of a matrix, by its name."""
    role = name.split(".")[-2]
    table = name.startswith("embeddings")
    match spec.initialisation:
        case Normal(std=std, truncated=truncated, shrink_residual=shrink):
            if shrink and role in ("output", "down"):
                return std / math.sqrt(2 * spec.n_layers)
            return std * (_CUT if truncated else 1)
        case XavierUniform():
            return spec.d_model**-0.5 if table else math.sqrt(2 / sum(shape))
        case FanIn():
            inner = spec.n_heads * spec.d_head
            return {
                "token": 1.0,
                "query": (spec.d_model * spec.d_head) ** -0.5,
                "output": inner**-0.5,
                "down": spec.d_ff**-0.5,
            }.get(role, spec.d_model**-0.5)


@each_family
def test_first_values_have_the_size_that_the_paper_gives(family: Family) -> None:
    spec = _wide(family)
    if (head := spec.head(LanguageModelHead)) is not None:
        spec = spec.change(heads=(LanguageModelHead(tied=False, bias=True, scaled=head.scaled),))
    for name, parameter in Model(spec).state_dict().items():
        if parameter.ndim == 1:
            constant = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            assert (parameter == constant).all(), name
            continue
        expected, bound = _deviation(name, parameter.shape, spec), DEVIATIONS / math.sqrt(2 * parameter.numel())
        assert abs(float(parameter.square().mean().sqrt()) / expected - 1) <= bound, name
        assert abs(float(parameter.mean())) <= DEVIATIONS * expected / math.sqrt(parameter.numel()), name
        match spec.initialisation:
            case Normal(std=std, truncated=True):
                assert float(parameter.abs().max()) <= 2 * std, name
            case XavierUniform() if not name.startswith("embeddings"):
                assert float(parameter.abs().max()) <= expected * math.sqrt(3), name


@each_family
def test_a_seed_settles_every_value(family: Family) -> None:
    spec = tiny(family)
    around = torch.get_rng_state()
    first, again, other = Model(spec, seed=5), Model(spec, seed=5), Model(spec, seed=6)
    assert torch.equal(torch.get_rng_state(), around)
    for (name, one), same, different in zip(
        first.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(one, same), name
        assert one.ndim == 1 or not torch.equal(one, different), name


@each_family
def test_nothing_is_allocated_on_meta(family: Family) -> None:
    model = Model(family.build(), seed=None, device="meta")
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_parameters_have_the_asked_dtype(dtype: torch.dtype) -> None:
    from stemma.families import BERT

    assert {parameter.dtype for parameter in Model(tiny(BERT), dtype=dtype).parameters()} == {dtype}
