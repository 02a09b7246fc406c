"""Measures of answers to questions, as SQuAD scores them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from stemma.metrics.checks import check_lengths
from stemma.metrics.classification import scores_of

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, English articles and more than single spaces.

    Source:
        Rajpurkar et al. 2016, section 6.1, and its official script.

    >>> normalise_answer("The  Eiffel Tower!")
    'eiffel tower'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match_of(answers: Sequence[str], predicted: str) -> float:
    """1.0 if a prediction equals one of the answers once both are normalised; no answer is matched by "" alone.

    >>> exact_match_of(["the tower", "it"], "Tower."), exact_match_of([], "")
    (1.0, 1.0)
    """
    return float(normalise_answer(predicted) in [normalise_answer(answer) for answer in answers or ("",)])


def token_f1_of(answers: Sequence[str], predicted: str) -> float:
    """The best F1 of a prediction's words over the answers; where either side has none, 1.0 if both do.

    >>> token_f1_of(["Eiffel tower in Paris"], "the tower")
    0.4
    """
    return max(_overlap(normalise_answer(answer).split(), predicted) for answer in answers or ("",))


def exact_match(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> float:
    """The mean of `exact_match_of`.

    Args:
        gold: the answers of each question; none where it has no answer.
        predicted: one text a question; "" says that there is no answer.

    >>> exact_match([["Paris"], []], ["Paris.", "Rome"])
    0.5
    """
    check_lengths("exact_match", gold, predicted)
    return sum(map(exact_match_of, gold, predicted)) / len(gold)


def token_f1(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> float:
    """The mean of `token_f1_of`, with the arguments of `exact_match`.

    Source:
        Rajpurkar et al. 2016, section 6.1; for questions without an answer Rajpurkar et al. 2018, section 5.

    >>> token_f1([["tower in Paris"], []], ["tower", ""])
    0.75
    """
    check_lengths("token_f1", gold, predicted)
    return sum(map(token_f1_of, gold, predicted)) / len(gold)


def _overlap(answer: Sequence[str], predicted: str) -> float:
    said = normalise_answer(predicted).split()
    if not answer or not said:
        return float(answer == said)
    return scores_of((Counter(answer) & Counter(said)).total(), len(said), len(answer)).f1
