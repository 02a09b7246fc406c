"""How well a vocabulary fits a text, counted by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.text import Tokenizer, fit, train

TOKENIZER = train(["low lower lowest"] * 3, vocab_size=262)
PIECES = train(["low lower lowest"] * 3, kind="wordpiece", vocab_size=40)


def test_counts() -> None:
    found = fit(TOKENIZER, ["low lower", "é", ""])
    assert (found.texts, found.words, found.bytes) == (3, 3, 11)
    ids = [token for text in ("low lower", "é") for token in TOKENIZER.encode(text, add_special=False)]
    assert found.tokens == len(ids)
    assert found.used == len(set(ids))
    assert found.fertility == len(ids) / 3
    assert found.compression == 11 / len(ids)
    assert found.used_share == len(set(ids)) / len(TOKENIZER)
    assert found.unknown == found.unknown_share == 0


def test_unknown_tokens() -> None:
    found = fit(PIECES, ["low ~ lower #"])
    assert (found.unknown, found.tokens, found.unknown_share) == (2, found.tokens, 2 / found.tokens)


@pytest.mark.parametrize("tokenizer", [TOKENIZER, PIECES], ids=lambda one: one.kind)
def test_nothing_to_measure(tokenizer: Tokenizer) -> None:
    found = fit(tokenizer, [])
    assert (found.texts, found.tokens, found.fertility, found.compression, found.unknown_share) == (0, 0, 0, 0, 0)


@given(st.lists(st.text(alphabet="low er~é\n"), max_size=5))
def test_texts_are_counted_one_by_one(texts: list[str]) -> None:
    """However they are batched."""
    whole, parts = fit(PIECES, iter(texts * 400)), [fit(PIECES, [text]) for text in texts]
    for name in ("texts", "bytes", "words", "tokens", "unknown"):
        assert getattr(whole, name) == 400 * sum(getattr(part, name) for part in parts), name
