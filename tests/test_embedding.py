"""Vectors of texts: independent of order and batch, cut where they must be, pooled as written out."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import tokenizers
import torch

from stemma.embedding import batches, embed
from stemma.errors import InputError
from stemma.families import BERT, LLAMA, T5
from stemma.nn import Model
from stemma.spec.lineage import Family
from stemma.spec.parts import Decoder, Encoder, Learned, Permutation
from stemma.spec.pooling import Pooling, PoolingKind, Projection, Prompt
from stemma.text import Tokenizer, train

from .tiny import each, random_model, tiny

TEXTS = ["one", "a text of several words", "", "two words", "a text of several words, and of several more"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(TEXTS * 3, kind="wordpiece", vocab_size=60)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Model:
    return random_model(tiny(BERT, vocab_size=tokenizer.vocab_size, position=Learned(60)))


def _written_out(model: Model, ids: list[int], pooling: Pooling) -> np.ndarray:
    with torch.no_grad():
        hidden = model(torch.tensor([ids])).hidden[0].numpy()
    places = np.arange(1, len(hidden) + 1)
    reduced = {
        "mean": hidden.mean(0),
        "cls": hidden[0],
        "max": hidden.max(0),
        "last": hidden[-1],
        "weighted": places @ hidden / places.sum(),
        "mean_sqrt_len": hidden.sum(0) / np.sqrt(len(hidden)),
    }[pooling.kind]
    return reduced / np.linalg.norm(reduced) if pooling.normalise else reduced


@pytest.mark.parametrize("kind", get_args(PoolingKind))
@pytest.mark.parametrize("normalise", [False, True])
def test_a_vector_is_the_one_written_out(model: Model, tokenizer: Tokenizer, kind: str, normalise: bool) -> None:
    pooling = Pooling(kind, normalise)  # type: ignore[arg-type]
    found = embed(model, tokenizer, TEXTS, pooling, batch_tokens=30)
    assert (found.dtype, found.shape) == (np.float32, (len(TEXTS), model.architecture.d_model))
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vector, _written_out(model, tokenizer.encode(text), pooling), atol=1e-5)


def test_order_and_batch_change_nothing(model: Model, tokenizer: Tokenizer) -> None:
    whole = embed(model, tokenizer, TEXTS, Pooling())
    for batch_tokens in (1, 20, 40):
        np.testing.assert_allclose(
            embed(model, tokenizer, TEXTS, Pooling(), batch_tokens=batch_tokens), whole, atol=1e-5
        )
    np.testing.assert_allclose(embed(model, tokenizer, TEXTS[::-1], Pooling(), batch_tokens=20), whole[::-1], atol=1e-5)
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


@each(Encoder, Decoder, Permutation)
def test_what_is_read_together_changes_no_vector(family: Family, tokenizer: Tokenizer) -> None:
    own = random_model(tiny(family, vocab_size=tokenizer.vocab_size))
    pooling = Pooling("mean", max_tokens=12)
    together = embed(own, tokenizer, [text for text in TEXTS if text], pooling)
    for text, vector in zip(filter(None, TEXTS), together, strict=True):
        (alone,) = embed(own, tokenizer, [text], pooling)
        np.testing.assert_allclose(vector, alone, atol=1e-5)


def test_large_batches_hold_texts_of_one_length() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(1, 60, 3000)]
    read = list(batches(lengths, 2048))
    assert sorted(place for batch in read for place in batch) == list(range(3000))
    for batch in read:
        longest = max(lengths[place] for place in batch)
        assert len(batch) * longest <= 2048
        # A row more than what is enough is padded at most.
        assert len({lengths[place] for place in batch}) == 1 or (len(batch) - 1) * longest < 512


def test_first_numbers_are_scaled_again(model: Model, tokenizer: Tokenizer) -> None:
    for normalise in (False, True):
        whole = embed(model, tokenizer, TEXTS, Pooling("mean", normalise))
        found = embed(model, tokenizer, TEXTS, Pooling("mean", normalise), dimensions=3)
        kept = whole[:, :3]
        np.testing.assert_allclose(found, kept / np.linalg.norm(kept, axis=1, keepdims=True) if normalise else kept)


def test_a_dense_layer_comes_before_scaling(model: Model, tokenizer: Tokenizer) -> None:
    width = model.architecture.d_model
    weight, bias = torch.randn(3, width), torch.randn(3)
    pooling = Pooling("cls", normalise=True, projections=(Projection(width, 3, activation="tanh"),))
    found = embed(model, tokenizer, TEXTS, pooling, [{"weight": weight, "bias": bias}])
    raw = np.tanh(embed(model, tokenizer, TEXTS, Pooling("cls")) @ weight.numpy().T + bias.numpy())
    np.testing.assert_allclose(found, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)


def test_a_prompt_is_read_but_need_not_be_pooled(model: Model, tokenizer: Tokenizer) -> None:
    prompts = (Prompt("short", "two "), Prompt("long", "a text of "))
    own = Pooling("mean", prompts=prompts, default_prompt="short")
    found = embed(model, tokenizer, TEXTS[:2], own)
    np.testing.assert_array_equal(found, embed(model, tokenizer, ["two " + text for text in TEXTS[:2]], Pooling()))
    np.testing.assert_array_equal(
        embed(model, tokenizer, TEXTS, own, prompt=""), embed(model, tokenizer, TEXTS, Pooling())
    )
    apart = Pooling("mean", prompts=prompts, include_prompt=False)
    ids, skipped = tokenizer.encode("a text of one"), len(tokenizer.encode("a text of ")) - 1
    with torch.no_grad():
        kept = model(torch.tensor([ids])).hidden[0, skipped:].mean(0)
    np.testing.assert_allclose(embed(model, tokenizer, ["one"], apart, prompt="long")[0], kept, atol=1e-5)


def test_integers_keep_the_direction_of_vectors(model: Model, tokenizer: Tokenizer) -> None:
    pooling = Pooling("mean", normalise=True)
    exact = embed(model, tokenizer, TEXTS, pooling)
    small = embed(model, tokenizer, TEXTS, pooling, precision="int8")
    assert (exact * small).sum(1).min() > 0.98
    assert not np.array_equal(exact, small)
    with torch.no_grad():
        model.embeddings.token.weight.mul_(-1)
    changed = embed(model, tokenizer, TEXTS, pooling, precision="int8")
    with torch.no_grad():
        model.embeddings.token.weight.mul_(-1)
    assert abs(changed - small).max() > 0.01


def test_a_text_without_tokens_is_named(tokenizer: Tokenizer) -> None:
    plain = Tokenizer(tokenizers.Tokenizer.from_str(tokenizer.backend.to_str()))
    plain.backend.post_processor = tokenizers.processors.Sequence([])
    decoder = random_model(tiny(LLAMA, vocab_size=plain.vocab_size))
    with pytest.raises(InputError, match=r"texts=\[1\] hold no token"):
        embed(decoder, plain, ["one", "", "two"], Pooling())


def test_faults_are_named_at_once(tokenizer: Tokenizer) -> None:
    pair = random_model(tiny(T5, vocab_size=tokenizer.vocab_size))
    with pytest.raises(InputError) as caught:
        embed(
            pair,
            tokenizer,
            "one text",
            Pooling(projections=(Projection(1, 1),)),
            prompt="query",
            dimensions=0,
            precision="int4",  # type: ignore[arg-type]
            batch_tokens=0,
        )
    fields = [fault.field for fault in caught.value.faults]
    assert fields == ["texts", "projections", "prompt", "dimensions", "precision", "batch_tokens", "model"]
