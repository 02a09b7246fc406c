"""Scores of beginnings and ends -> the best spans of a context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stemma.objectives.example import Example
from stemma.objectives.tasks.shares import shares


@dataclass(frozen=True)
class Window(Example):
    """A question and a stretch of its context.

    Args:
        first: the place of the context's first token, counted from the document's first.
        characters: n x 2; which characters of the context each of its tokens covers.
    """

    first: int = 0
    characters: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))


@dataclass(frozen=True)
class Span:
    """An answer to a question.

    Args:
        text: as it stands in the context; "" for no answer.
        start: its first character.
        end: the one after its last.
        score: of its beginning and its end together.
        probability: its share among the answers that are told.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float = 0.0


NO_ANSWER = Span("", 0, 0, 0.0)


def nothing(scores: Sequence[np.ndarray]) -> Span:
    """No answer, which each window scores at its first token; the one that is surest of an answer counts.

    Args:
        scores: of each window, L x 2.
    """
    return replace(NO_ANSWER, score=min(float(window[0].sum()) for window in scores))


def best_spans(
    context: str, windows: Sequence[Window], scores: Sequence[np.ndarray], n_best: int, longest: int
) -> list[Span]:
    """The likeliest answers over all windows, the best first, each once.

    s(i, j) = begin_i + end_j for i <= j < i + longest (Devlin et al. 2019, section 4.2).

    Args:
        context: of the question.
        windows: which cover it.
        scores: of each, L x 2: of a beginning and of an end at each token.
        n_best: how many.
        longest: tokens of an answer.
    """
    found: dict[tuple[int, int], Span] = {}
    for window, told in zip(windows, scores, strict=True):
        begins, ends = told[window.first : window.first + len(window.characters)].astype(np.float64).T
        both = begins[:, None] + ends
        apart = np.arange(len(ends)) - np.arange(len(begins))[:, None]
        both[(apart < 0) | (apart >= longest)] = -np.inf
        flat = both.reshape(-1)
        for place in np.argsort(-flat, kind="stable")[: 2 * n_best]:
            span = _span(context, window, *divmod(int(place), len(ends)), float(flat[place]))
            known = found.get((span.start, span.end))
            if span.text and np.isfinite(span.score) and (known is None or known.score < span.score):
                found[span.start, span.end] = span
    return sorted(found.values(), key=lambda span: -span.score)[:n_best]


def with_probabilities(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The same spans with their shares of the softmax over all of them."""
    likely = shares(np.array([span.score for span in spans])).tolist()
    return tuple(replace(span, probability=one) for span, one in zip(spans, likely, strict=True))


def _span(context: str, window: Window, first: int, last: int, score: float) -> Span:
    """Tokens as characters, without the space that a token may begin with."""
    start, end = int(window.characters[first, 0]), int(window.characters[last, 1])
    text = context[start:end]
    start += len(text) - len(text.lstrip())
    return Span(text.strip(), start, start + len(text.strip()), score)
