"""Measures of labels and of spans, against scikit-learn and written-out rules."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference

from stemma.errors import InputError
from stemma.metrics import accuracy, entities, matthews, precision_recall_f1, span_f1

PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=30)
TAG = st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y"])
SENTENCES = st.lists(st.lists(st.tuples(TAG, TAG), min_size=1, max_size=8), min_size=1, max_size=6)


def columns(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [gold for gold, _ in pairs], [said for _, said in pairs]


@given(pairs=PAIRS)
def test_they_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    gold, said = columns(pairs)
    assert accuracy(gold, said) == pytest.approx(reference.accuracy_score(gold, said))
    for average in ("macro", "micro"):
        wanted = reference.precision_recall_fscore_support(gold, said, average=average, zero_division=0)
        assert precision_recall_f1(gold, said, average=average) == pytest.approx(wanted[:3])
    of_one = reference.precision_recall_fscore_support(gold, said, labels=[gold[0]], zero_division=0)
    wanted = [float(column[0]) for column in of_one[:3]]
    assert precision_recall_f1(gold, said, positive=gold[0]) == pytest.approx(wanted)
    assert precision_recall_f1(gold, said, labels=[gold[0]], average="micro") == pytest.approx(wanted)


@given(pairs=PAIRS)
def test_matthews_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    gold, said = columns(pairs)
    assume(len(set(gold + said)) > 1)  # scikit-learn warns where both have the same single label
    assert matthews(gold, said) == pytest.approx(reference.matthews_corrcoef(gold, said), abs=1e-12)


@given(pairs=PAIRS, seed=st.integers(0, 9))
def test_the_order_of_items_does_not_matter_and_scores_stay_in_bounds(pairs: list[tuple[str, str]], seed: int) -> None:
    mixed = random.Random(seed).sample(pairs, len(pairs))
    for metric, low in ((accuracy, 0.0), (matthews, -1.0), (lambda g, s: precision_recall_f1(g, s).f1, 0.0)):
        score = metric(*columns(pairs))
        assert low - 1e-12 <= score <= 1 + 1e-12
        assert metric(*columns(mixed)) == pytest.approx(score)


def conlleval(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """The two rules of the official script for B, I and O, written out."""
    found, start = set(), 0
    for place, (before, tag) in enumerate(zip(["O", *tags], [*tags, "O"], strict=True)):
        ends = before != "O" and (tag[0] in "BO" or before[1:] != tag[1:])
        begins = tag != "O" and (tag[0] == "B" or before == "O" or before[1:] != tag[1:])
        if ends:
            found.add((before[2:], start, place))
        if begins:
            start = place
    return found


@given(sentences=SENTENCES)
def test_spans_are_those_of_conlleval(sentences: list[list[tuple[str, str]]]) -> None:
    gold, said = ([[pair[side] for pair in sentence] for sentence in sentences] for side in (0, 1))
    right = [conlleval(tags) for tags in gold]
    found = [conlleval(tags) for tags in said]
    assert [set(entities(tags)) for tags in gold] == right
    hits = sum(len(a & b) for a, b in zip(right, found, strict=True))
    total = sum(map(len, right)) + sum(map(len, found))
    scores = span_f1(gold, said)
    assert scores.micro.f1 == pytest.approx(2 * hits / total if total else 0.0)
    assert set(scores.types) == {name for spans in right + found for name, _, _ in spans}
    assert all(0 <= score <= 1 for each in scores.types.values() for score in each)


def test_each_type_has_its_scores() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
    said = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "B-PER"]]
    scores = span_f1(gold, said)
    assert scores.types == {"LOC": (1.0, 1.0, 1.0), "PER": (0.0, 0.0, 0.0)}
    assert scores.micro == pytest.approx((2 / 4, 2 / 3, 4 / 7))


def test_the_five_forms_mean_the_same_spans() -> None:
    wanted = [("PER", 0, 3), ("LOC", 4, 5), ("LOC", 5, 6)]
    for tags in (
        "I-PER I-PER I-PER O I-LOC B-LOC",
        "B-PER I-PER I-PER O B-LOC B-LOC",
        "B-PER I-PER E-PER O S-LOC S-LOC",
        "B-PER I-PER L-PER O U-LOC U-LOC",
    ):
        assert entities(tags.split()) == wanted


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match="predicted=1 are not as many as the 2"):
        accuracy(["a", "b"], ["a"])
    with pytest.raises(InputError, match="at least one"):
        matthews([], [])
    with pytest.raises(InputError, match="positive='yes' does not occur; use one of no"):
        precision_recall_f1(["no"], ["no"], positive="yes")
    with pytest.raises(InputError, match="average='mean' is unknown"):
        precision_recall_f1(["no"], ["no"], average="mean")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"(?s)2 faults.*tag 0='X-a'.*tag 2='B'"):
        entities(["X-a", "O", "B"])
