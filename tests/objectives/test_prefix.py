"""A text cut in two: the first part is read whole, the second is asked for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from stemma.data import Frame
from stemma.families import BART, BERT, GLM, GPT2, T5, XLNET
from stemma.nn import build
from stemma.objectives import Example, Pass, PrefixLM, Setting, Vocabulary, collate
from stemma.spec import Family
from stemma.text import Roles

from ..tiny import tiny
from .vocabularies import BOUNDED, ENDED, row, texts, vocabulary

SMALL = dict(n_layers=1, d_model=8, n_heads=2)


def prepared(family: Family, known: Vocabulary, n: int, key: int = 0) -> Example:
    spec = family.build(**SMALL, vocab_size=known.size)
    return Pass((PrefixLM(),)).prepare(row(next(texts(known, n, n)), known.frame, (key,)), Setting(known, 64, spec))


@pytest.mark.slow
def test_every_place_but_the_ends_is_cut_as_often() -> None:
    known, n = vocabulary(50, BOUNDED), 2000
    cuts = Counter(int(prepared(GPT2, known, 6, key).inputs["prefix"]) for key in range(n))
    assert cuts.keys() == set(range(1, 8))
    assert all(abs(count / n - 1 / 7) < 4 * (6 / 49 / n) ** 0.5 for count in cuts.values())


def test_a_decoder_is_asked_for_all_that_follows_the_prefix() -> None:
    known = vocabulary(50, BOUNDED)
    for key in range(20):
        example = prepared(GPT2, known, 12, key)
        tokens, cut, asked = example.tokens, int(example.inputs["prefix"]), example.targets["next"]
        assert (asked.ids == tokens[cut:]).all()
        assert asked.places.tolist() == list(range(cut - 1, len(tokens) - 1))
        assert "documents" not in example.inputs


@pytest.mark.parametrize(("family", "roles"), [(T5, ENDED), (BART, BOUNDED)], ids=["t5", "bart"])
def test_an_encoder_reads_the_beginning_and_the_decoder_the_rest(family: Family, roles: Roles) -> None:
    known = vocabulary(50, roles)
    for key in range(20):
        example = prepared(family, known, 12, key)
        whole = np.array([*known.frame.before, *next(texts(known, 12, 12)), *known.frame.after])
        rest, end = example.targets["text"].ids, len(known.frame.after)
        assert (np.concatenate((example.tokens[:-end], rest)) == whole).all()
        assert example.tokens[-end:].tolist() == list(known.frame.after)
        assert example.inputs["decoder_tokens"].tolist() == [known.start, *rest[:-1]]
        assert len(rest) >= 1


def test_the_prefix_is_seen_whole_and_nothing_else_before_its_time() -> None:
    """A later token of the prefix changes what an earlier one becomes; what is asked for never does."""
    known, spec = vocabulary(37, BOUNDED), tiny(GPT2)
    texts_ = list(texts(known, 48, 12))
    setting = Setting(known, 16, spec)
    batch = collate([Pass((PrefixLM(),)).prepare(row(text, None, (9,)), setting) for text in texts_])
    model, cut = build(spec).eval(), int(batch.inputs["prefix"][0])
    assert 2 < cut < 11
    with torch.no_grad():
        before = model(**batch.inputs).hidden
        for place in range(12):
            tokens = batch.inputs["tokens"].clone()
            tokens[:, place] = (tokens[:, place] + 1) % 37
            changed = (model(**{**batch.inputs, "tokens": tokens}).hidden != before).any(-1).all(0)
            first = 0 if place < cut else place
            assert changed.tolist() == [number >= first for number in range(12)]


@pytest.mark.parametrize("n", [0, 1])
def test_a_text_too_short_to_cut_asks_nothing_it_shows(n: int) -> None:
    known = vocabulary(50, ENDED)
    for family in (GPT2, T5):
        spec = family.build(**SMALL, vocab_size=50)
        example = Pass((PrefixLM(),)).prepare(row(np.full(n, 10), Frame((), (1,))), Setting(known, 64, spec))
        (asked,) = example.targets.values()
        assert len(asked.ids) == len(asked.places) == n


def test_who_carries_it() -> None:
    faults = {
        family.name: PrefixLM().faults(Setting(vocabulary(50), 64, family.build(**SMALL, vocab_size=50)))
        for family in (GPT2, GLM, T5, BART, BERT, XLNET)
    }
    assert [name for name, found in faults.items() if not found] == ["gpt2", "glm", "t5", "bart"]
    lost = PrefixLM().faults(Setting(vocabulary(50, Roles()), 64, T5.build(**SMALL, vocab_size=50)))
    assert "a token with which the decoder begins" in str(lost[0])
