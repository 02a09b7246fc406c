"""GLM's blanks, against its rules in plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from stemma.data import Frame, Ids
from stemma.families import GLM, GPT2
from stemma.objectives import BlankInfilling, Example, Pass, Setting
from stemma.text import Roles

from .vocabularies import CLASSED, apart, row, texts, vocabulary

KNOWN = vocabulary(2000, CLASSED, sentinels=0)
BEGIN, END, MASK = 1, 2, 3
FRAME = Frame((BEGIN,), (END,))
SETTING = Setting(KNOWN, 512, GLM.build())


def prepared(text: Ids, key: int = 0, setting: Setting = SETTING, **options: object) -> Example:
    return Pass((BlankInfilling(**options),)).prepare(row(text, FRAME, (key,)), setting)  # type: ignore[arg-type]


def read(example: Example) -> tuple[list[int], list[tuple[int, list[int]]]]:
    """The text with blanks, and each span with the place of its blank; every rule of the layout is checked."""
    tokens, (first, second) = example.tokens.tolist(), example.inputs["places"].tolist()
    prefix, asked = int(example.inputs["prefix"]), example.targets["text"]
    assert asked.places.tolist() == list(range(prefix, len(tokens)))
    assert first[:prefix] == list(range(prefix))
    assert second[:prefix] == [0] * prefix
    spans: list[tuple[int, list[int]]] = []
    place = prefix
    while place < len(tokens):
        assert tokens[place] == BEGIN
        blank, span = first[place], []
        assert tokens[blank] == MASK
        for inside, answer in enumerate(asked.ids[place - prefix :].tolist()):
            assert (first[place], second[place]) == (blank, inside + 1)
            place += 1
            if answer == END:
                break
            assert tokens[place] == answer
            span.append(answer)
        spans.append((blank, span))
    return tokens[:prefix], spans


def restored(example: Example) -> list[int]:
    """The text with each blank filled."""
    text, spans = read(example)
    filled = dict(spans)
    assert len(filled) == len(spans) == text.count(MASK)
    return [token for place, part in enumerate(text) for token in filled.get(place, [part])]


@pytest.mark.parametrize("level", ["span", "document"])
@pytest.mark.parametrize("n", [0, 1, 2, 5, 60, 440])
def test_the_text_comes_back_and_nothing_is_told(level: str, n: int) -> None:
    for key in range(20):
        text = apart(KNOWN, n, key)
        example = prepared(text, key, level=level)
        assert restored(example) == [BEGIN, *text, END]
        seen, spans = read(example)
        assert not set(seen) & {token for _, span in spans for token in span}


@pytest.mark.slow
def test_the_share_over_a_million_tokens() -> None:
    objective = BlankInfilling()
    n = objective.takes(512)
    hidden, lengths, total = 0, [], 0
    for number, text in enumerate(texts(KNOWN, 1_000_000, n)):
        example = prepared(text, number)
        spans = (example.targets["text"].ids == END).sum()
        hidden, total = hidden + len(example.targets["text"].ids) - spans, total + n
        lengths.append(spans)
        assert len(example.tokens) <= 512
    assert abs(hidden / total - 0.15) <= 0.5 / n
    mean = 3 / -np.expm1(-3.0)
    assert abs(hidden / sum(lengths) - mean) < 0.1


def test_spans_come_in_every_order() -> None:
    orders = set()
    for key in range(200):
        _, spans = read(prepared(apart(KNOWN, 60), key))
        orders.add(tuple(np.argsort([blank for blank, _ in spans])) if len(spans) == 3 else None)
    assert len(orders - {None}) == 6


def test_a_long_span_has_half_a_text_or_more() -> None:
    shares = []
    for key in range(400):
        example = prepared(apart(KNOWN, 200), key, level="document")
        (span,) = read(example)[1]
        shares.append(len(span[1]) / 200)
    assert min(shares) >= 0.5
    assert abs(np.mean(shares) - 0.75) < 3 * (1 / 48 / 400) ** 0.5


@pytest.mark.parametrize("length", [8, 12, 20, 33, 64, 512])
def test_rows_of_any_length_fit(length: int) -> None:
    for level in ("span", "document"):
        objective = BlankInfilling(level=level)  # type: ignore[arg-type]
        for key in range(30):
            example = prepared(apart(KNOWN, length, key), key, SETTING._replace(length=length), level=level)
            assert len(example.tokens) <= length
            assert restored(example)[1:-1] == apart(KNOWN, length, key)[: objective.takes(length)].tolist()


def test_equal_keys_give_equal_examples() -> None:
    text = apart(KNOWN, 100)
    first, again, other = (prepared(text, key).tokens.tolist() for key in (5, 5, 6))
    assert first == again
    assert first != other


def test_what_is_missing_is_named() -> None:
    assert BlankInfilling().faults(SETTING) == []
    words = " ".join(map(str, BlankInfilling().faults(Setting(vocabulary(40, Roles(pad=0)), 512, GPT2.build()))))
    assert all(word in words for word in ("two tables", "role `mask`", "role `bos`", "role `eos`"))
