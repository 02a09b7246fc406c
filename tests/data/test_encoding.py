"""Fast tokenising gives the tokenizer's own ids, or is not used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.data import Files, Texts, documents, encoding, tokenise
from stemma.data.encoding import Differs, Fast, Plain, encoders
from stemma.errors import InputError
from stemma.text import Tokenizer, train

TEXTS = [text for (text,) in documents(Files(paths=("pydoc",)))]


@pytest.fixture(scope="module", params=["bytebpe", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train(TEXTS[:20], kind=request.param, vocab_size=600)


@pytest.fixture
def fast(tokenizer: Tokenizer) -> Fast:
    pytest.importorskip("gigatoken", reason="gigatoken is not installed")
    return Fast(tokenizer)


def test_plain_is_the_tokenizer(tokenizer: Tokenizer) -> None:
    ids, lengths = Plain(tokenizer)(TEXTS[:5])
    assert [row.tolist() for row in np.split(ids, np.cumsum(lengths)[:-1])] == [
        tokenizer.encode(text, add_special=False) for text in TEXTS[:5]
    ]


def test_fast_gives_the_same_ids_for_real_text(tokenizer: Tokenizer, fast: Fast) -> None:
    for start in range(0, len(TEXTS), 40):
        batch = TEXTS[start : start + 40]
        assert all(map(np.array_equal, fast(batch), Plain(tokenizer)(batch)))


@cache
def pairs() -> list[tuple[Tokenizer, Fast]]:
    """A tokenizer of each kind, with what is faster."""
    pytest.importorskip("gigatoken", reason="gigatoken is not installed")
    tokenizers = [train(TEXTS[:20], kind=kind, vocab_size=600) for kind in ("bytebpe", "bpe")]
    return [(tokenizer, Fast(tokenizer)) for tokenizer in tokenizers]


SPECIAL = st.sampled_from(["<|endoftext|>", "<s>", "</s>", "'s", "  \n", "123", "e\u0301", "\U0001f642", "\U0001eec2"])


@given(st.lists(st.lists(st.text(max_size=10) | SPECIAL, max_size=8).map("".join), min_size=1, max_size=6))
def test_fast_gives_the_same_ids_for_any_text(texts: list[str]) -> None:
    for tokenizer, fast in pairs():
        assert all(map(np.array_equal, fast(texts), Plain(tokenizer)(texts)))


def test_characters_of_another_unicode_version_are_left_to_the_tokenizer(fast: Fast) -> None:
    text = "plain \U0001eec2\U0001eec2 text"
    fast(["a", text])
    assert fast._doubtful <= set(text)


class Wrong:
    """Gives other ids for texts with a certain word."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def encode_batch(self, texts: Sequence[str]) -> list[Any]:
        ids = self._backend.encode_batch(texts)
        return [one[:-1] if "wrong" in text else one for one, text in zip(ids, texts, strict=True)]


def test_a_difference_is_found_and_the_corpus_made_without(
    tmp_path: Path, tokenizer: Tokenizer, fast: Fast, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast._backend = Wrong(fast._backend)
    with pytest.raises(Differs, match="its ids differ for 'it is wrong'"):
        fast(["right", "it is wrong"])
    monkeypatch.setattr(encoding.Fast, "_encode", lambda self, texts: Wrong(self._backend).encode_batch(texts))
    corpus = tokenise(Texts(items=["right", "it is wrong"]), tokenizer, tmp_path, fast=True)
    assert corpus.parts(1)[0].tolist() == tokenizer.encode("it is wrong", add_special=False)
    assert corpus.meta["encoder"] == "tokenizers"
    assert corpus.meta["note"] == "gigatoken was not used: its ids differ for 'it is wrong'"


def test_vocabularies_that_it_does_not_know(tmp_path: Path) -> None:
    pytest.importorskip("gigatoken", reason="gigatoken is not installed")
    wordpiece = train(TEXTS[:5], kind="wordpiece", vocab_size=300)
    assert encoders(wordpiece, None) == [Plain]
    corpus = tokenise(Texts(items=["one"]), wordpiece, tmp_path, fast=True)
    assert corpus.meta["encoder"] == "tokenizers"
    assert "gigatoken was not used: Unsupported model" in corpus.meta["note"]


def test_asked_for_but_absent(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gigatoken.gigatoken_rs", None)
    with pytest.raises(InputError, match=r"pip install 'stemma-lm\[fast\]'"):
        tokenise(Texts(items=["one"]), tokenizer, tmp_path, fast=True)
