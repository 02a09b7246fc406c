"""The chunked cross-entropy against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from stemma.objectives.cross_entropy import summed_cross_entropy

from ..tiny import apart
from ..tolerances import FP32, FP64

N, WIDTH, VOCAB = 53, 12, 101


def operands(dtype: torch.dtype, biased: bool) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features, weight = (torch.randn(n, WIDTH, generator=generator, dtype=torch.float64) for n in (N, VOCAB))
    bias = torch.randn(VOCAB, generator=generator, dtype=torch.float64) if biased else None
    targets = torch.randint(VOCAB, (N,), generator=generator)
    given = [None if x is None else x.to(dtype).requires_grad_() for x in (features, weight, bias)]
    return (*given, targets)  # type: ignore[return-value]


def gradients(loss: Tensor, *inputs: Tensor | None) -> list[Tensor]:
    return list(torch.autograd.grad(3 * loss, [x for x in inputs if x is not None]))


@pytest.mark.parametrize("chunk", [1, 7 * VOCAB, 26 * VOCAB, 53 * VOCAB, 2**26])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, FP64), (torch.float32, FP32)])
def test_the_sum_and_its_gradients_are_torchs(chunk: int, biased: bool, dtype: torch.dtype, tolerance: float) -> None:
    features, weight, bias, targets = operands(dtype, biased)
    expected = functional.cross_entropy(functional.linear(features, weight, bias), targets, reduction="sum")
    found = summed_cross_entropy(features, weight, bias, targets, chunk)
    assert apart(found, expected) <= tolerance * float(expected.detach())
    wanted = gradients(expected, features, weight, bias)
    for mine, theirs in zip(gradients(found, features, weight, bias), wanted, strict=True):
        assert mine.dtype == theirs.dtype
        assert apart(mine, theirs) <= tolerance * max(1.0, float(theirs.abs().max()))


def test_autocast_multiplies_in_bfloat16_and_sums_in_float32() -> None:
    features, weight, bias, targets = operands(torch.float32, True)
    exact = summed_cross_entropy(features, weight, bias, targets)
    with torch.autocast("cpu", torch.bfloat16):
        rough = summed_cross_entropy(features, weight, bias, targets, chunk=7 * VOCAB)
    assert rough.dtype == torch.float32
    # A product of 12 terms has a relative error of about 2^-8 in bfloat16.
    assert apart(rough / exact, torch.ones(())) < 0.01
    pairs = zip(gradients(rough, features, weight, bias), gradients(exact, features, weight, bias), strict=True)
    for mine, theirs in pairs:
        assert mine.dtype == torch.float32
        assert float((mine - theirs).norm() / theirs.norm()) < 0.02


def test_no_targets_cost_nothing() -> None:
    features, weight, bias, targets = operands(torch.float32, True)
    loss = summed_cross_entropy(features[:0], weight, bias, targets[:0])
    assert loss.item() == 0
    assert all(not gradient.any() for gradient in gradients(loss, features, weight, bias) if gradient.numel())


def test_what_learns_nothing_gets_no_gradient() -> None:
    features, weight, _, targets = operands(torch.float32, False)
    with torch.no_grad():
        assert not summed_cross_entropy(features, weight, None, targets).requires_grad
    summed_cross_entropy(features, weight.detach(), None, targets).backward()
    assert features.grad is not None


def test_never_are_all_logits_held() -> None:
    """The largest tensor that is made is one of a chunk's rows."""
    features, weight, bias, targets = operands(torch.float32, True)
    sizes: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            sizes.extend(x.numel() for x in (result if isinstance(result, tuple) else [result]) if torch.is_tensor(x))
            return result

    with Watch():
        summed_cross_entropy(features, weight, bias, targets, chunk=13 * VOCAB).backward()
    assert max(sizes) <= 13 * VOCAB < N * VOCAB
