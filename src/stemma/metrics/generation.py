"""Measures of generated text against references, by sacrebleu, so that the figures are those of papers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from stemma.errors import Fault, InputError
from stemma.metrics.checks import check_lengths


def bleu(gold: Sequence[Sequence[str]], predicted: Sequence[str], tokenize: str = "13a") -> float:
    """BLEU of a whole corpus, from 0 to 100.

    Args:
        gold: the references of each text, at least one.
        predicted: as many texts.
        tokenize: as sacrebleu names it: "13a", "intl", "char", "zh", "ja-mecab", "none".

    Raises:
        InputError: of unequal lengths, a text without a reference, or sacrebleu is not installed.

    Source:
        Papineni et al. 2002, section 2.3; Post 2018 (sacrebleu).
    """
    package = _sacrebleu()
    return float(package.corpus_bleu(predicted, _streams("bleu", gold, predicted), tokenize=tokenize).score)


def chrf(gold: Sequence[Sequence[str]], predicted: Sequence[str], word_order: int = 0) -> float:
    """The F-score of character n-grams of a whole corpus, from 0 to 100; chrF++ with word_order 2.

    Args:
        gold: the references of each text, at least one.
        predicted: as many texts.
        word_order: the longest n-grams of words that count too.

    Raises:
        InputError: as `bleu` does.

    Source:
        Popović 2015, equation 1; 2017 for chrF++.
    """
    package = _sacrebleu()
    return float(package.corpus_chrf(predicted, _streams("chrf", gold, predicted), word_order=word_order).score)


def _streams(metric: str, gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> list[list[str | None]]:
    """The first references of all texts, then the second ones, and so on; None where a text has fewer."""
    check_lengths(metric, gold, predicted)
    if bare := [number for number, references in enumerate(gold) if not references]:
        raise InputError(metric, [Fault(f"gold[{n}]", [], "has no reference", "give at least one") for n in bare])
    if single := [number for number, references in enumerate(gold) if isinstance(references, str)]:
        raise InputError(metric, Fault(f"gold[{single[0]}]", gold[single[0]], "is one text", "put it in a list"))
    most = max(map(len, gold))
    return [[row[place] if place < len(row) else None for row in gold] for place in range(most)]


def _sacrebleu() -> Any:
    try:
        return import_module("sacrebleu")
    except ImportError:
        fault = Fault("sacrebleu", None, "is not installed", "install it: pip install 'stemma-lm[metrics]'")
        raise InputError("metrics", fault) from None
