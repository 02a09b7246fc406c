"""What came before is left out, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.data.deduplicate import SIEVES, SIMILAR, Sieve, Similar

WORDS = [f"word{number}" for number in range(500)]


def passed(sieve: Sieve, texts: list[str]) -> list[bool]:
    return sieve.new(sieve.sign([(text,) for text in texts])).tolist()


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=20))
def test_exact_keeps_the_first_of_each(texts: list[str]) -> None:
    assert passed(SIEVES["exact"](), texts) == [text not in texts[:number] for number, text in enumerate(texts)]
    assert all(passed(SIEVES["kept"](), texts))


def test_parts_are_told_apart() -> None:
    sieve = SIEVES["exact"]()
    assert sieve.new(sieve.sign([("ab", "c"), ("a", "bc")])).tolist() == [True, True]


def test_similar_leaves_out_copies_with_small_changes() -> None:
    draws = np.random.default_rng(0)
    texts = [" ".join(draws.choice(WORDS, 300)) for _ in range(20)]
    changed = [text.replace(text.split()[100], "else", 1) for text in texts]
    assert passed(Similar(), texts + changed + texts) == [True] * 20 + [False] * 40


def test_a_signature_is_the_same_wherever_it_is_made() -> None:
    both = [("one two three four five six",), ("seven",)]
    assert np.array_equal(Similar().sign(both), np.concatenate([Similar().sign([one]) for one in both]))


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_equal_minima_estimate_the_resemblance(share: float) -> None:
    """Of two texts of 2,000 shingles with a known resemblance; three standard deviations of 128 draws."""
    draws = np.random.default_rng(1)
    words = [str(number) for number in draws.permutation(10**6)]
    n_own = round(2000 * (1 - share) / (1 + share))
    left, right = words[: 2000 - n_own] + words[2000 : 2000 + n_own], words[: 2000 - n_own] + words[5000 : 5000 + n_own]

    def shingles(text: list[str]) -> set[tuple[str, ...]]:
        return set(zip(*(text[place:] for place in range(5)), strict=False))

    mine, other = shingles(left), shingles(right)
    resemblance = len(mine & other) / len(mine | other)
    estimates = Similar().sign([(" ".join(left),), (" ".join(right),)])
    estimate = float((estimates[0] == estimates[1]).mean())
    assert abs(estimate - resemblance) < 3 * (resemblance * (1 - resemblance) / 128) ** 0.5
    assert passed(Similar(), [" ".join(left), " ".join(right)]) == [True, estimate < SIMILAR]
