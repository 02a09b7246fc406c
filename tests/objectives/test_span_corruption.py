"""T5's spans: their share, their sentinels, and that nothing is lost or told."""

from __future__ import annotations

import numpy as np
import pytest

from stemma.data import Frame, Ids, Row
from stemma.families import BERT, MT5, T5
from stemma.objectives import CausalLM, Example, Pass, Setting, SpanCorruption, Vocabulary

from .vocabularies import apart, document, row, texts, vocabulary

ROW = 568
KNOWN = vocabulary(2000, sentinels=100)
SETTING = Setting(KNOWN, 512, T5.build())
FRAME = Frame((), (1,))


def prepared(text: Ids, key: int = 0, setting: Setting = SETTING, **options: float) -> Example:
    return Pass((SpanCorruption(**options),)).prepare(row(text, FRAME, (key,)), setting)


def restored(example: Example, known: Vocabulary) -> list[int]:
    """The text, each sentinel replaced by what the answer has after it."""
    *answer, end = example.targets["text"].ids.tolist()
    *read, last = example.tokens.tolist()
    assert end == last == known.roles.eos
    hidden: dict[int, list[int]] = {}
    for token in answer:
        if token in known.sentinels:
            assert token not in hidden, "a sentinel stands once"
            spot = hidden.setdefault(token, [])
        else:
            spot.append(token)
    return [part for token in read for part in hidden.get(token, [token])]


def test_published_lengths() -> None:
    """512 tokens are read and 114 written for 568 of text (`compute_input_and_target_lengths` of T5's code)."""
    assert SpanCorruption().takes(512) == Pass((SpanCorruption(),)).takes(512) == ROW
    assert Pass((CausalLM(),)).takes(512) == 512
    example = prepared(next(texts(KNOWN, ROW, ROW)))
    assert (len(example.tokens), len(example.inputs["decoder_tokens"])) == (512, 114)


@pytest.mark.slow
def test_the_share_and_the_spans_over_a_million_tokens() -> None:
    hidden, spans, total = 0, [], 0
    for number, text in enumerate(texts(KNOWN, 1_000_000, ROW)):
        answer = prepared(text, number).targets["text"].ids[:-1]
        marks = np.flatnonzero(np.isin(answer, KNOWN.sentinels))
        spans.extend(np.diff(np.append(marks, len(answer))) - 1)
        hidden, total = hidden + len(answer) - len(marks), total + len(text)
    # The number of a row is fixed, so that nothing but its rounding is left to deviate.
    assert abs(hidden / total - 0.15) <= 0.5 / ROW
    assert abs(np.mean(spans) - 3.0) <= 0.1
    assert min(spans) == 1


def authors_mask(draws: np.random.Generator, n: int) -> np.ndarray:
    """`random_spans_noise_mask` of T5's code, for a rate of 0.15 and spans of 3."""
    n_hidden = round(n * 0.15)
    n_spans = round(n_hidden / 3)

    def segmentation(items: int) -> np.ndarray:
        first = np.append([0], draws.permutation(np.arange(items - 1) < n_spans - 1))
        return np.bincount(np.cumsum(first), minlength=n_spans)

    lengths = np.stack((segmentation(n - n_hidden), segmentation(n_hidden)), 1).reshape(-1)
    starts = np.bincount(np.cumsum(lengths)[:-1], minlength=n)
    return np.cumsum(starts) % 2 == 1


@pytest.mark.slow
def test_places_are_hidden_as_often_as_by_the_authors() -> None:
    n_rows, text, draws = 2000, np.arange(10, 70), np.random.default_rng(1)
    ours, theirs = np.zeros(60), np.zeros(60)
    for key in range(n_rows):
        ours += ~np.isin(text, prepared(text, key).tokens)
        theirs += authors_mask(draws, 60)
    shares = (ours + theirs) / (2 * n_rows)
    assert (abs(ours - theirs) / n_rows <= 4 * np.sqrt(2 * shares * (1 - shares) / n_rows)).all()
    assert ours.sum() == theirs.sum() == n_rows * 9


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40, 568])
def test_the_text_comes_back_and_nothing_is_told(n: int) -> None:
    for key in range(20):
        text = apart(KNOWN, n, key)
        example = prepared(text, key)
        assert restored(example, KNOWN) == text.tolist()
        answer = example.targets["text"].ids
        told = set(example.tokens.tolist()) & set(answer.tolist()) - {1}
        assert told == set(answer.tolist()) & set(KNOWN.sentinels.tolist())
        # Each place is asked for what stands after what the decoder was given.
        assert example.inputs["decoder_tokens"].tolist() == [KNOWN.start, *answer[:-1]]
        assert example.targets["text"].places.tolist() == list(range(len(answer)))


def test_sentinels_come_in_their_order() -> None:
    example = prepared(apart(KNOWN, 300))
    for ids in (example.tokens, example.targets["text"].ids):
        found = ids[np.isin(ids, KNOWN.sentinels)]
        assert found.tolist() == KNOWN.sentinels[: len(found)].tolist()


def test_documents_of_a_row_follow_one_another_unmarked() -> None:
    first, second = apart(KNOWN, 30), apart(KNOWN, 20, seed=1)
    both = Row((document(first, FRAME), document(second, FRAME)))
    example = Pass((SpanCorruption(),)).prepare(both, SETTING)
    assert restored(example, KNOWN) == [*first, *second]
    assert example.inputs.keys() == {"tokens", "decoder_tokens"}


def test_an_empty_document_is_nothing_but_its_end() -> None:
    example = prepared(np.zeros(0, dtype=np.int64))
    assert (example.tokens.tolist(), example.targets["text"].ids.tolist()) == ([1], [1])


def test_equal_keys_give_equal_examples() -> None:
    text = apart(KNOWN, 100)
    first, again, other = (prepared(text, key).tokens for key in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("length", range(3, 90))
def test_rows_of_any_length_fit(length: int) -> None:
    objective = SpanCorruption(rate=0.3, mean_span=2.0)
    setting = SETTING._replace(length=length)
    text = apart(KNOWN, objective.takes(length))
    assert len(Pass((objective,)).prepare(row(text), setting).tokens) <= length
    assert objective.left(objective.takes(length) + 1) > length


def test_what_is_missing_is_named() -> None:
    assert SpanCorruption().faults(SETTING) == []
    assert SpanCorruption().faults(SETTING._replace(spec=MT5.build())) == []
    bare = vocabulary(100, sentinels=3)
    words = [str(fault) for fault in SpanCorruption().faults(SETTING._replace(vocabulary=bare))]
    assert len(words) == 1
    assert "28 sentinels" in words[0]
    many = SpanCorruption(rate=1.5, mean_span=0.0).faults(SETTING._replace(spec=BERT.build()))
    assert [word in " ".join(map(str, many)) for word in ("encoder-decoder", "rate=1.5", "mean_span=0.0")] == [True] * 3
