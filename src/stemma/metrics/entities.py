"""Tags of a sentence -> the spans they mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stemma.errors import Fault, InputError
from stemma.metrics.checks import check_lengths
from stemma.metrics.classification import Scores, scores_of

Entity = tuple[str, int, int]
"""Type, first word, and the word after the last."""

IN_SPAN = re.compile(r"([BIESLU])-(.+)", re.DOTALL)
"""A tag of a span: begin, inside, end (E, L) or single (S, U), and the type."""


def entities(tags: Sequence[str]) -> list[Entity]:
    """The spans of one sentence, read as the conlleval script reads them.

    A span begins at B, S or U, at another type, and wherever the one before has ended; so IOB1, IOB2, BIOES and BILOU
    need not be told apart.

    Args:
        tags: "O", or one of B-, I-, E-, S-, L-, U- with a type.

    Raises:
        InputError: naming every tag of another form.

    Source:
        Tjong Kim Sang and Buchholz 2000, Introduction to the CoNLL-2000 Shared Task, section 4 (conlleval);
        Ratinov and Roth 2009, section 2.2 (BILOU).

    >>> entities(["B-PER", "I-PER", "O", "I-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4)]
    """
    parsed = [("O", "") if tag == "O" else _parse(tag) for tag in tags]
    if faults := [_fault(number, tag) for number, (tag, pair) in enumerate(zip(tags, parsed, strict=True)) if not pair]:
        raise InputError("tags", faults)
    found: list[Entity] = []
    goes_on = False
    for place, pair in enumerate(parsed):
        prefix, name = pair or ("O", "")
        if prefix == "O":
            goes_on = False
            continue
        if goes_on and prefix in "IEL" and found[-1][0] == name:
            found[-1] = (name, found[-1][1], place + 1)
        else:
            found.append((name, place, place + 1))
        goes_on = prefix in "BI"
    return found


def _parse(tag: str) -> tuple[str, str] | None:
    match = IN_SPAN.fullmatch(tag)
    return (match[1], match[2]) if match else None


def _fault(number: int, tag: str) -> Fault:
    return Fault(f"tag {number}", tag, "is of unknown form", "write O, or B- and I- before a type")


class SpanScores(NamedTuple):
    """Scores of spans: of all types together, and of each."""

    micro: Scores
    types: Mapping[str, Scores]


def span_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> SpanScores:
    """Precision, recall and F1 of spans; one is right if its type and both of its ends are.

    Args:
        gold: the right tags of each sentence, in any form that `entities` reads.
        predicted: as many sentences, of as many tags.

    Raises:
        InputError: sentences of unequal lengths, or tags of unknown form.

    Source:
        Tjong Kim Sang and De Meulder 2003, Introduction to the CoNLL-2003 Shared Task, section 2.4.

    >>> span_f1([["B-PER", "O", "B-LOC"]], [["B-PER", "O", "O"]]).micro
    Scores(precision=1.0, recall=0.5, f1=0.6666666666666666)
    """
    check_lengths("span_f1", gold, predicted)
    hits, said, right = Counter[str](), Counter[str](), Counter[str]()
    for ours, theirs in zip(predicted, gold, strict=True):
        check_lengths("span_f1", theirs, ours)
        found, true = set(entities(ours)), set(entities(theirs))
        for counts, spans in ((hits, found & true), (said, found), (right, true)):
            counts.update(name for name, _, _ in spans)
    types = {name: scores_of(hits[name], said[name], right[name]) for name in sorted(said | right)}
    return SpanScores(scores_of(hits.total(), said.total(), right.total()), types)
