"""Vectors of texts: independent of order and batch, cut where they must be, pooled as written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stemma.embedding import embed
from stemma.errors import InputError
from stemma.families import BERT, LLAMA, T5
from stemma.nn import Model
from stemma.spec.parts import Learned
from stemma.spec.pooling import Pooling
from stemma.text import Tokenizer, train

from .tiny import random_model, tiny

TEXTS = ["one", "a text of several words", "", "two words", "a text of several words, and of several more"]
KINDS = ("mean", "cls", "max", "last")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(TEXTS * 3, kind="wordpiece", vocab_size=60)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Model:
    return random_model(tiny(BERT, vocab_size=tokenizer.vocab_size, position=Learned(60)))


def _written_out(model: Model, ids: list[int], pooling: Pooling) -> np.ndarray:
    with torch.no_grad():
        hidden = model(torch.tensor([ids])).hidden[0].numpy()
    reduced = {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.max(0), "last": hidden[-1]}[pooling.kind]
    return reduced / np.linalg.norm(reduced) if pooling.normalise else reduced


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalise", [False, True])
def test_a_vector_is_the_one_written_out(model: Model, tokenizer: Tokenizer, kind: str, normalise: bool) -> None:
    pooling = Pooling(kind, normalise)  # type: ignore[arg-type]
    found = embed(model, tokenizer, TEXTS, pooling, batch_size=3)
    assert (found.dtype, found.shape) == (np.float32, (len(TEXTS), model.architecture.d_model))
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vector, _written_out(model, tokenizer.encode(text), pooling), atol=1e-5)


def test_order_and_batch_change_nothing(model: Model, tokenizer: Tokenizer) -> None:
    whole = embed(model, tokenizer, TEXTS, Pooling(), batch_size=32)
    for batch_size in (1, 2, 4):
        np.testing.assert_allclose(embed(model, tokenizer, TEXTS, Pooling(), batch_size), whole, atol=1e-5)
    np.testing.assert_allclose(embed(model, tokenizer, TEXTS[::-1], Pooling(), 2), whole[::-1], atol=1e-5)
    assert embed(model, tokenizer, [], Pooling()).shape == (0, model.architecture.d_model)


def test_a_long_text_is_cut_before_its_last_mark(model: Model, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(TEXTS[-1])
    assert len(ids) > 6
    assert ids[-1] == tokenizer.sep
    pooling = Pooling("last", max_tokens=6)
    (found,) = embed(model, tokenizer, TEXTS[-1:], pooling)
    np.testing.assert_allclose(found, _written_out(model, [*ids[:5], ids[-1]], pooling), atol=1e-5)
    short = random_model(model.architecture.change(position=Learned(6)))
    assert embed(short, tokenizer, TEXTS, Pooling()).shape[0] == len(TEXTS)


def test_a_decoder_embeds_too(tokenizer: Tokenizer) -> None:
    decoder = random_model(tiny(LLAMA, vocab_size=tokenizer.vocab_size))
    pooling = Pooling("last")
    for text, vector in zip(TEXTS[:2], embed(decoder, tokenizer, TEXTS[:2], pooling), strict=True):
        np.testing.assert_allclose(vector, _written_out(decoder, tokenizer.encode(text), pooling), atol=1e-5)


def test_faults_are_named_at_once(tokenizer: Tokenizer) -> None:
    pair = random_model(tiny(T5, vocab_size=tokenizer.vocab_size))
    with pytest.raises(InputError) as caught:
        embed(pair, tokenizer, "one text", Pooling(), batch_size=0)
    assert [fault.field for fault in caught.value.faults] == ["texts", "batch_size", "model"]
