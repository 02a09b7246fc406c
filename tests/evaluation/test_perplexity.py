"""Perplexity is what scoring a text says of it."""

from __future__ import annotations

from math import exp

import pytest
import torch

from stemma.errors import InputError
from stemma.evaluation import perplexity, perplexity_of

from ..small_models import small_model

TEXT = "another one, and longer than the first of the texts"


def test_it_is_the_exponential_of_the_mean_loss() -> None:
    lm = small_model("gpt2")
    assert lm.tokenizer is not None
    ids = lm.tokenizer.encode(TEXT, add_special=False)
    with torch.no_grad():
        logprobs = lm.model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)  # type: ignore[index]
    loss = -logprobs.gather(-1, torch.tensor(ids[1:])[:, None]).mean()
    assert perplexity_of(lm, TEXT) == pytest.approx(exp(loss), rel=1e-5)


def test_stretches_are_read_apart() -> None:
    """Seven tokens in stretches of three: two losses of each whole one, and none of what is left alone."""
    seen = []

    def read(ids: torch.Tensor) -> torch.Tensor:
        seen.append(ids.tolist())
        return torch.nn.functional.one_hot((ids + 1) % 5, 5) * 1e3

    assert perplexity(read, [0, 1, 2, 3, 4, 0, 1], window=3) == pytest.approx(1)
    assert seen == [[0, 1, 2], [3, 4, 0]]


def test_a_text_too_short_is_refused() -> None:
    with pytest.raises(InputError, match=r"len\(ids\)=1 must be at least 2"):
        perplexity(lambda ids: torch.zeros(len(ids), 2), [1])
    with pytest.raises(InputError, match="window=1"):
        perplexity(lambda ids: torch.zeros(len(ids), 2), [1, 2], window=1)
