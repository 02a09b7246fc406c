"""Counting, against counting done slowly."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.objectives import CausalLM, ReplacedTokens, TwoDirections
from stemma.training.baselines import Targets, baselines, bigram_loss, gather, unigram_loss
from stemma.training.learner import Lesson

from .small import lessons, spec, tokenizer, usual

SIZE = 4
pairs = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)), min_size=1, max_size=60)


def targets(found: list[tuple[int, int]]) -> Targets:
    before, ids = np.array(found, dtype=np.int64).T
    return Targets(before, ids)


def discount(counts: list[int]) -> float:
    ones, twos = counts.count(1), counts.count(2)
    return min(0.95, max(0.05, ones / max(1, ones + 2 * twos)))


class Slow:
    """Interpolated Kneser-Ney as it is written down, a word at a time."""

    def __init__(self, learnt: list[tuple[int, int]]) -> None:
        self.counts = Counter(learnt)

    def lower(self, word: int) -> float:
        kinds = Counter(second for _, second in self.counts)
        share, total = discount(list(kinds.values())), sum(kinds.values())
        return max(kinds[word] - share, 0) / total + share * len(kinds) / total / SIZE

    def probability(self, before: int, word: int) -> float:
        follow = {second: count for (first, second), count in self.counts.items() if first == before}
        if not follow:
            return self.lower(word)
        share, total = discount(list(self.counts.values())), sum(follow.values())
        return max(follow.get(word, 0) - share, 0) / total + share * len(follow) / total * self.lower(word)


@given(pairs, pairs)
def test_bigrams(learnt: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    slow = Slow(learnt)
    wanted = -sum(log(slow.probability(*pair)) for pair in asked) / len(asked)
    assert bigram_loss(targets(learnt), targets(asked), SIZE) == pytest.approx(wanted, rel=1e-12)


@given(pairs, st.integers(0, SIZE - 1))
def test_probabilities_add_up_to_one(learnt: list[tuple[int, int]], before: int) -> None:
    losses = [bigram_loss(targets(learnt), targets([(before, word)]), SIZE) for word in range(SIZE)]
    assert sum(np.exp(-np.array(losses))) == pytest.approx(1, abs=1e-12)
    ids = targets(learnt).ids
    assert sum(np.exp(-unigram_loss(ids, np.array([word]), SIZE)) for word in range(SIZE)) == pytest.approx(1)


@given(pairs, pairs)
def test_unigrams(learnt: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    counts = Counter(second for _, second in learnt)
    shares = [Fraction(counts[second] + 1, len(learnt) + SIZE) for _, second in asked]
    wanted = -sum(log(share) for share in shares) / len(asked)
    assert unigram_loss(targets(learnt).ids, targets(asked).ids, SIZE) == pytest.approx(wanted, rel=1e-12)


def test_targets_of_the_next_token_follow_what_is_read() -> None:
    (lesson,) = lessons(spec(), CausalLM())
    found = gather(lesson, range(3))["next"]
    examples = [lesson.asks.prepare(lesson.row(number), lesson.setting) for number in range(3)]
    wanted = [(int(a), int(b)) for one in examples for a, b in zip(one.tokens[:-1], one.tokens[1:], strict=True)]
    assert set(zip(found.before.tolist(), found.ids.tolist(), strict=True)) <= set(wanted)
    assert len(found.ids) == sum(len(one.targets["next"].ids) for one in examples)


def test_baselines_are_those_of_the_held_out_rows() -> None:
    (lesson,), (held_out,) = lessons(spec(), CausalLM()), lessons(spec(), CausalLM(), salt=1)
    found = baselines(lesson, held_out, 20, 5)["next"]
    learnt, asked = gather(lesson, range(20))["next"], gather(held_out, range(5))["next"]
    size = len(tokenizer())
    assert found.targets == len(asked.ids)
    assert found.unigram == unigram_loss(learnt.ids, asked.ids, size)
    assert found.bigram == bigram_loss(learnt, asked, size)
    assert found.bigram < found.unigram


def lesson_of(name: str) -> Lesson:
    return usual(name).lessons[0]


def test_masked_tokens_have_no_bigram() -> None:
    lesson = lesson_of("mlm")
    found = baselines(lesson, lesson, 10, 5)
    assert found["masked"].bigram is None
    assert found["masked"].unigram > 0


@pytest.mark.parametrize("name", ["nsp", "sop"])
def test_classes_are_counted_as_they_are(name: str) -> None:
    lesson = lesson_of(name)
    (found,) = baselines(lesson, lesson, 200, 100).values()
    assert found.unigram == pytest.approx(log(2), abs=0.05)


def test_what_a_generator_will_draw_is_not_counted() -> None:
    (lesson,) = usual("rtd").lessons
    assert isinstance(lesson.asks.objectives[0], ReplacedTokens)
    assert "replaced" not in baselines(lesson, lesson, 5, 5)


def test_spelt_tokens_are_read_as_the_tokens_they_are() -> None:
    """ELMo reads characters; what its targets follow are tokens all the same, on either side."""
    spelt = lesson_of("elmo")
    assert isinstance(spelt.asks.objectives[0], TwoDirections)
    found = gather(spelt, range(4))
    assert found.keys() == {"next", "before"}
    both = [{(int(a), int(b)) for a, b in zip(found[term].before, found[term].ids, strict=True)} for term in found]
    # What the left-to-right half reads is what the other half is asked for.
    assert len(both[0] & {(b, a) for a, b in both[1]}) > 0.9 * len(both[0]) > 0
