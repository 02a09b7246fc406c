"""Attention by the compiled part against its definition."""

from __future__ import annotations

import pytest
import torch

from stemma.compiled import compiled
from stemma.nn import whole
from stemma.nn.attention import attention_weights
from stemma.nn.masks import Scores
from stemma.nn.products import attend_whole

from .. import tolerances


@pytest.fixture
def native() -> None:
    if not whole.serves_here():
        pytest.skip("the compiled part is not installed, or this processor lacks products of bfloat16")


def heads(texts: int, tokens: int, width: int, seed: int) -> torch.Tensor:
    values = torch.randn(texts, tokens, 3, width, generator=torch.Generator().manual_seed(seed))
    return values.to(torch.bfloat16).transpose(1, 2)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("width", whole.WIDTHS)
@pytest.mark.parametrize(("n_queries", "n_keys"), [(1, 1), (7, 33), (16, 16), (40, 200), (9, whole.MOST_KEYS)])
@pytest.mark.parametrize("masked", ["none", "keys", "pairs"])
def test_it_is_softmax_of_products(width: int, n_queries: int, n_keys: int, masked: str) -> None:
    query, key, value = heads(2, n_queries, width, 0), heads(2, n_keys, width, 1), heads(2, n_keys, width, 2)
    shape = {"none": None, "keys": (2, 1, 1, n_keys), "pairs": (1, 1, n_queries, n_keys)}[masked]
    shown = None if shape is None else torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.6
    if shown is not None:
        shown[..., 0] = True
    scale = width**-0.5
    weights = attention_weights(query.float(), key.float(), Scores(shown), scale)
    found = attend_whole(query, key, value, Scores(shown), scale)
    assert found.dtype == torch.bfloat16
    # Probabilities and values have eight bits each.
    torch.testing.assert_close(found.float(), weights @ value.float(), atol=tolerances.BFLOAT16_MIXES, rtol=0)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("n_tokens", [5, 70, 300])
def test_heads_share_keys_and_see_what_precedes_them(n_tokens: int) -> None:
    query = torch.cat([heads(2, n_tokens, 64, seed) for seed in (0, 1)], 1)
    key, value = heads(2, n_tokens, 64, 2), heads(2, n_tokens, 64, 3)
    found = attend_whole(query, key, value, Scores(causal=True), 0.1)
    weights = attention_weights(query.float(), key.float(), Scores(causal=True), 0.1)
    exact = weights @ value.float().repeat_interleave(2, 1)
    torch.testing.assert_close(found.float(), exact, atol=tolerances.BFLOAT16_MIXES, rtol=0)


@pytest.mark.usefixtures("native")
def test_plain_products_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = heads(3, 20, 32, 0), heads(3, 30, 32, 1), heads(3, 30, 32, 2)
    fast = attend_whole(query, key, value, Scores(), 0.2)
    monkeypatch.setattr(whole, "serves_here", lambda: False)
    torch.testing.assert_close(
        fast, attend_whole(query, key, value, Scores(), 0.2), atol=tolerances.BFLOAT16_MIXES, rtol=0
    )


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("query", "key", "said"),
    [
        (heads(1, 4, 16, 0), heads(1, 4, 16, 0), "32 or 64 channels"),
        (heads(1, 4, 32, 0), heads(1, 4, 64, 0), "axis 3"),
        (heads(1, 4, 32, 0).float(), heads(1, 4, 32, 0), "bfloat16"),
        (heads(1, 4, 32, 0), heads(1, whole.MOST_KEYS + 1, 32, 0), "1 to 2048 tokens"),
    ],
    ids=["width", "widths", "type", "keys"],
)
def test_what_it_cannot_read_is_refused(query: torch.Tensor, key: torch.Tensor, said: str) -> None:
    mixed = torch.empty_like(query)
    with pytest.raises(ValueError, match=said):
        compiled().attend_whole(query, key, key, mixed, 1.0, None, 0, 0, 1)
