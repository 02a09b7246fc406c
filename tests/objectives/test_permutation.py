"""XLNet's orders: what is asked for, what each token sees, and `transformers`' collator by distribution."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import DataCollatorForPermutationLanguageModeling

from stemma.data import Frame, Ids, Row
from stemma.families import BERT, XLNET
from stemma.nn.two_stream import RankMask
from stemma.objectives import Example, Pass, PermutationLM, Setting, collate

from ..tiny import random_model, tiny
from .vocabularies import CLASSED, apart, document, row, texts, vocabulary

KNOWN = vocabulary(1000, CLASSED, sentinels=0)
SETTING = Setting(KNOWN, 512, XLNET.build())
FRAME = Frame((), (2, 1))


def prepared(text: Ids, key: int = 0, frame: Frame = FRAME) -> Example:
    return Pass((PermutationLM(),)).prepare(row(text, frame, (key,)), SETTING)


def test_what_is_asked_for() -> None:
    for key in range(30):
        text = apart(KNOWN, 50, key)
        example = prepared(text, key)
        asked, ranks = example.targets["permuted"], example.inputs["ranks"]
        assert example.tokens.tolist() == [*text, *FRAME.after]
        assert asked.ids.tolist() == example.tokens[asked.places].tolist()
        assert (ranks[-2:] == -1).all(), "the frame is never asked for"
        assert asked.places.tolist() == np.flatnonzero(ranks >= 0).tolist()
        assert sorted(ranks[asked.places]) == list(range(len(asked.ids)))


@pytest.mark.slow
def test_every_order_is_as_likely() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for key in range(8000):
        ranks = prepared(np.arange(10, 26), key).inputs["ranks"]
        if (ranks >= 0).sum() == 3:
            order = tuple(ranks[ranks >= 0].tolist())
            counts[order] = counts.get(order, 0) + 1
    n = sum(counts.values())
    assert len(counts) == 6
    assert all(abs(count / n - 1 / 6) < 4 * (5 / 36 / n) ** 0.5 for count in counts.values())


def test_masks_are_those_of_brute_force() -> None:
    """What is not predicted is seen by all; what is, by those of a higher rank, and by itself as content."""
    examples = [prepared(apart(KNOWN, 12, key), key) for key in range(8)]
    both = Row((document(apart(KNOWN, 7), FRAME), document(apart(KNOWN, 3), FRAME)))
    examples.append(Pass((PermutationLM(),)).prepare(both, SETTING))
    batch = collate(examples)
    ranks, documents = batch.inputs["ranks"], batch.inputs["documents"]
    n_rows, n = ranks.shape
    found = RankMask(documents=documents, ranks=ranks, asking=n).dense(n, n, torch.device("cpu"))
    for number in range(n_rows):
        for query in range(n):
            for key in range(n):
                near = documents[number, query] == documents[number, key]
                free, later = ranks[number, key] < 0, ranks[number, query] > ranks[number, key]
                asking = bool(near and (free or later))
                assert found[number, 0, query, key] == (asking or query == key)
                assert found[number, 0, n + query, key] == asking


def test_the_answer_cannot_be_read() -> None:
    """No gradient leads from what is asked at a place to the token that stands there, nor to those of a higher rank."""
    model = random_model(tiny(XLNET))
    known = vocabulary(37, CLASSED, sentinels=0)
    text = np.random.default_rng(0).choice(known.ordinary, 14)
    batch = collate([Pass((PermutationLM(),)).prepare(row(text, FRAME, (3,)), SETTING._replace(vocabulary=known))])
    ranks, asked = batch.inputs["ranks"][0], batch.asked["permuted"]
    assert len(asked) >= 2
    vectors: list[torch.Tensor] = []
    model.embeddings.token.register_forward_hook(lambda module, given, out: vectors.append(out) or out.retain_grad())
    for place in asked.places.tolist():
        vectors.clear()
        model.zero_grad()
        model(**batch.inputs, scores=False).asked[0, place].sum().backward()
        reached = vectors[0].grad[0].abs().sum(-1) > 0
        assert reached.tolist() == [bool(rank < ranks[place]) for rank in ranks]


def test_a_document_that_is_predicted_whole_stays_finite() -> None:
    model, known = random_model(tiny(XLNET)), vocabulary(37, CLASSED, sentinels=0)
    setting, learns = SETTING._replace(vocabulary=known), Pass((PermutationLM(rate=0.9),))
    lone = [document(known.ordinary[place : place + 1]) for place in range(10)]
    examples = [learns.prepare(Row(tuple(lone), (key,)), setting) for key in range(4)]
    loss = learns.losses(model, torch.nn.ModuleDict(), collate(examples))["permuted"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def collator() -> DataCollatorForPermutationLanguageModeling:
    """Theirs, with a tokenizer that is no more than the marks that it asks for."""
    marks = SimpleNamespace(
        mask_token="<mask>",
        mask_token_id=3,
        pad_token=None,
        get_special_tokens_mask=lambda ids, already_has_special_tokens: [int(token < 4) for token in ids],
    )
    marks.pad_token, marks.pad_token_id = "<pad>", 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DataCollatorForPermutationLanguageModeling(tokenizer=marks)


def runs(chosen: np.ndarray) -> list[int]:
    """Lengths of the runs of what is asked for."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], chosen, [False])).astype(int)))
    return (edges[1::2] - edges[::2]).tolist()


def test_as_many_are_asked_for_as_by_transformers() -> None:
    """The share of every place, and how long the runs are."""
    torch.manual_seed(0)
    n_rows, n = 1500, 60
    rows = np.stack([*texts(KNOWN, n_rows * n, n)])
    theirs = collator().torch_mask_tokens(torch.from_numpy(rows.copy()))[3].numpy() >= 0
    ours = np.stack([prepared(text, key, Frame()).inputs["ranks"] >= 0 for key, text in enumerate(rows)])
    shares = (ours.mean(0) + theirs.mean(0)) / 2
    assert (abs(ours.mean(0) - theirs.mean(0)) <= 4.5 * np.sqrt(2 * shares * (1 - shares) / n_rows)).all()
    lengths = [np.concatenate([runs(chosen) for chosen in rows]) for rows in (ours, theirs)]
    spread = np.sqrt(sum(np.var(part) / len(part) for part in lengths))
    assert abs(lengths[0].mean() - lengths[1].mean()) < 4 * spread


def test_what_each_token_sees_is_what_transformers_say() -> None:
    """Of equal ranks, their mask, by the rule in their source, of what is not the frame."""
    example = prepared(apart(KNOWN, 40))
    ranks = torch.from_numpy(example.inputs["ranks"])
    theirs = (ranks[:, None] <= ranks) & (ranks >= 0)
    n = len(ranks)
    ours = RankMask(ranks=ranks[None], asking=n).dense(n, n, torch.device("cpu"))[0, 0, n:]
    assert torch.equal(ours, ~theirs)


def test_the_share_over_a_million_tokens() -> None:
    """A sixth, but for the frame, and but for spans that the end of a row cuts."""
    asked = total = 0
    deviations = 0.0
    for number, text in enumerate(texts(KNOWN, 1_000_000, 512)):
        found = len(prepared(text, number, Frame()).targets["permuted"].ids)
        asked, total, deviations = asked + found, total + len(text), deviations + (found - 512 / 6) ** 2
    assert abs(asked - total / 6) < 3 * deviations**0.5


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_short_rows(n: int) -> None:
    assert len(prepared(apart(KNOWN, n), frame=Frame()).tokens) == n


def test_equal_keys_give_equal_examples() -> None:
    text = apart(KNOWN, 100)
    first, again, other = (prepared(text, key).inputs["ranks"].tolist() for key in (5, 5, 6))
    assert first == again
    assert first != other


def test_what_is_missing_is_named() -> None:
    assert PermutationLM().faults(SETTING) == []
    words = " ".join(map(str, PermutationLM(rate=2.0).faults(SETTING._replace(spec=BERT.build()))))
    assert all(word in words for word in ("permutation", "rate=2.0"))
