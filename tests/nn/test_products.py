"""Attention by products is the fused kernel's attention, in values and gradients."""

from __future__ import annotations

import pytest
import torch

from stemma.nn.attention import attend
from stemma.nn.masks import Mask, Scores
from stemma.nn.products import BLOCK, MOST_KEYS, attend_by_products, serves

ROWS, HEADS, WIDTH, SCALE = 2, 4, 8, 0.3
LENGTH = BLOCK + BLOCK // 2


def scores(kind: str) -> Scores:
    generator = torch.Generator().manual_seed(1)
    match kind:
        case "free":
            return Scores()
        case "causal":
            return Scores(causal=True)
        case "documents":
            documents = torch.arange(LENGTH).expand(ROWS, -1) // 50
            return Mask(causal=True, documents=documents).scores(LENGTH, LENGTH, torch.device("cpu"))
        case "padding":
            keys = torch.arange(LENGTH)[None] < torch.tensor([[LENGTH], [7]])
            return Mask(keys=keys).scores(LENGTH, LENGTH, torch.device("cpu"))
    return Scores(torch.randn(1, HEADS, LENGTH, LENGTH, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["free", "causal", "documents", "padding", "relative"])
@pytest.mark.parametrize("groups", [HEADS, 2])
def test_products_give_what_the_kernel_gives(kind: str, groups: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(ROWS, n, LENGTH, WIDTH) for n in (HEADS, groups, groups, HEADS)]
    *parts, slope = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    given = [part.requires_grad_() for part in parts]
    wanted = attend(*given, scores(kind), SCALE)
    found = attend_by_products(*given, scores(kind), SCALE, dropout=0.0)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    for mine, theirs in zip(
        torch.autograd.grad(found, given, slope), torch.autograd.grad(wanted, given, slope), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_dropout_keeps_the_mean() -> None:
    query, key = torch.zeros(1, 1, LENGTH, WIDTH), torch.zeros(1, 1, LENGTH, WIDTH)
    torch.manual_seed(0)
    mixed = attend_by_products(query, key, torch.ones_like(key), Scores(), SCALE, dropout=0.5)
    assert mixed.std() > 0
    assert abs(float(mixed.mean()) - 1) < 0.02


def test_only_compiled_training_is_served() -> None:
    short = torch.zeros(1, 1, 4, WIDTH)

    def asks(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return query + float(serves(query, key))

    compiled = torch.compile(asks, backend="eager", fullgraph=True)
    assert not serves(short, short)
    assert compiled(short, short).mean() == 1
    assert compiled(short, torch.zeros(1, 1, MOST_KEYS + 1, WIDTH)).mean() == 0
    with torch.no_grad():
        assert compiled(short, short).mean() == 0
