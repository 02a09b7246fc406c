"""Measures of answers and of generated text."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.errors import InputError
from stemma.metrics import bleu, chrf, exact_match, exact_match_of, normalise_answer, token_f1, token_f1_of

WORDS = st.text(alphabet="ab the.!", max_size=12)


@pytest.mark.parametrize(
    ("answers", "said", "exact", "f1"),
    [
        (["Denver Broncos", "The Broncos"], "the denver broncos.", 1.0, 1.0),
        (["Denver Broncos"], "Broncos", 0.0, 2 / 3),
        (["a b b c"], "b b b", 0.0, 4 / 6),
        (["another"], "an other", 0.0, 0.0),
        ([], "", 1.0, 1.0),
        ([], "Paris", 0.0, 0.0),
        (["Paris"], "", 0.0, 0.0),
        (["the"], "a", 1.0, 1.0),
    ],
)
def test_answers_as_squad_scores_them(answers: list[str], said: str, exact: float, f1: float) -> None:
    assert exact_match_of(answers, said) == exact
    assert token_f1_of(answers, said) == pytest.approx(f1)


@given(answers=st.lists(WORDS, max_size=3), said=WORDS)
def test_an_exact_match_is_a_full_overlap(answers: list[str], said: str) -> None:
    assert normalise_answer(normalise_answer(said)) == normalise_answer(said)
    exact, f1 = exact_match_of(answers, said), token_f1_of(answers, said)
    assert 0 <= exact <= f1 <= 1
    assert token_f1_of(answers[::-1], said) == f1


def test_means_over_questions() -> None:
    gold, said = [["Paris"], [], ["Oslo harbour"]], ["paris", "Rome", "Oslo"]
    assert exact_match(gold, said) == pytest.approx(1 / 3)
    assert token_f1(gold, said) == pytest.approx((1 + 0 + 2 / 3) / 3)
    with pytest.raises(InputError, match="not as many"):
        token_f1(gold, said[:2])


REFERENCES = [["The cat sat on the mat ."], ["A dog barked loudly .", "The dog barked loudly ."]]


def test_generated_text_against_several_references() -> None:
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed")
    right = ["The cat sat on the mat .", "The dog barked loudly ."]
    assert bleu(REFERENCES, right) == pytest.approx(100)
    assert chrf(REFERENCES, right) == pytest.approx(100)
    # Of one text of five words of which four match: precisions 4/5, 2/4, 1/3, 1/2 * 1/2 (smoothed), no brevity penalty.
    score = bleu([["one two three four five"]], ["one two three nine five"])
    assert score == pytest.approx(100 * (4 / 5 * 2 / 4 * 1 / 3 * 1 / 4) ** 0.25)
    assert 0 < chrf([["abcdef"]], ["abcxef"]) < 100


def test_text_without_a_reference_is_refused() -> None:
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed")
    with pytest.raises(InputError, match=r"gold\[1\]=\[\] has no reference"):
        bleu([["a"], []], ["a", "b"])
    with pytest.raises(InputError, match="is one text; put it in a list"):
        chrf(["abc"], ["abc"])


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(InputError, match=r"sacrebleu=None is not installed; install it: .*stemma-lm\[metrics\]"):
        bleu([["a"]], ["a"])
