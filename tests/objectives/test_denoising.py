"""BART's five noises, one by one and together."""

from __future__ import annotations

import numpy as np
import pytest

from stemma.data import Frame, Ids
from stemma.families import BART, GPT2
from stemma.objectives import Denoising, Example, Pass, Setting
from stemma.objectives.denoising import NOISES
from stemma.text import Roles

from .vocabularies import BOUNDED, apart, row, texts, vocabulary

KNOWN = vocabulary(3000, BOUNDED, sentinels=0)
SETTING = Setting(KNOWN, 512, BART.build())
START, MASK, END = 0, 3, 2
FRAME = Frame((START,), (END,))


def prepared(text: Ids, *noises: str, key: int = 0) -> Example:
    objective = Denoising(noises=noises) if noises else Denoising()  # type: ignore[arg-type]
    return Pass((objective,)).prepare(row(text, FRAME, (key,)), SETTING)


def inside(example: Example) -> list[int]:
    """What the encoder reads between the ends."""
    first, *text, last = example.tokens.tolist()
    assert (first, last) == (START, END)
    return text


@pytest.mark.parametrize("noise", [*NOISES, ""])
def test_the_decoder_writes_the_text_as_it_was(noise: str) -> None:
    for key in range(20):
        text = apart(KNOWN, 40, key)
        example = prepared(text, *filter(None, [noise]), key=key)
        whole = [START, *text, END]
        assert example.targets["text"].ids.tolist() == whole
        assert example.targets["text"].places.tolist() == list(range(len(whole)))
        # As `shift_tokens_right` of BART's code: the end of a text begins the next.
        assert example.inputs["decoder_tokens"].tolist() == [END, *whole[:-1]]


def test_masks_stand_for_tokens() -> None:
    text = apart(KNOWN, 200)
    seen = np.array(inside(prepared(text, "mask")))
    assert (seen == MASK).sum() == 60
    assert ((seen == text) | (seen == MASK)).all()


def test_what_is_deleted_leaves_no_trace() -> None:
    text = apart(KNOWN, 200).tolist()
    seen = inside(prepared(np.array(text), "delete"))
    assert len(seen) == 140
    assert seen == [token for token in text if token in set(seen)]


@pytest.mark.slow
def test_infilling_hides_words_behind_single_masks() -> None:
    """30% of a million tokens are hidden, in spans of words that are Poisson but for the last."""
    hidden, total, masks, words = 0, 0, 0, 0
    for number, text in enumerate(texts(KNOWN, 1_000_000, 500)):
        seen = np.array(inside(prepared(text, "infill", key=number)))
        marks = seen == MASK
        kept = seen[~marks]
        assert np.isin(kept, text).all()
        hidden, total, masks = hidden + len(text) - len(kept), total + len(text), masks + marks.sum()
        words += round(0.3 * len(np.unique(KNOWN.words(text))))
    # A word has two tokens on the average: 30% of the words, as exactly as rows can be divided.
    deviation = (0.3 * 0.7 * 2 / total) ** 0.5
    assert abs(hidden / total - 0.3) < 3 * deviation
    assert abs(words / masks - 3.0) < 0.1


def test_infilling_keeps_words_whole_and_their_order() -> None:
    for key in range(50):
        text = apart(KNOWN, 80, key)
        seen = [token for token in inside(prepared(text, "infill", key=key)) if token != MASK]
        kept = np.isin(text, seen)
        assert seen == text[kept].tolist()
        words = KNOWN.words(text)
        assert all(len(set(kept[words == word])) == 1 for word in np.unique(words))


def test_insertions_are_masks_of_nothing() -> None:
    text, found = apart(KNOWN, 400), 0
    for key in range(20):
        seen = inside(prepared(text, "infill", key=key))
        position = {token: place for place, token in enumerate(text.tolist())}
        for before, mask, after in zip(seen, seen[1:], seen[2:], strict=False):
            around = before in position and after in position
            found += mask == MASK and around and position[after] == position[before] + 1
    n_spans = 20 * 0.3 * 200 / 3  # of 200 words
    none = np.exp(-3.0)
    assert abs(found - n_spans * none) < 4 * (n_spans * none) ** 0.5


def sentences(text: Ids) -> list[tuple[int, ...]]:
    """A plain reading of where sentences end: at each stop that no other follows."""
    found: list[list[int]] = [[]]
    for place, token in enumerate(text.tolist()):
        found[-1].append(token)
        if KNOWN.stops[token] and place + 1 < len(text) and not KNOWN.stops[text[place + 1]]:
            found.append([])
    return [tuple(sentence) for sentence in found]


def test_sentences_change_places() -> None:
    moved = 0
    for key in range(30):
        text = apart(KNOWN, 60, key)
        left, seen = sentences(text), inside(prepared(text, "permute", key=key))
        first = {sentence[0]: sentence for sentence in left}
        rebuilt: list[tuple[int, ...]] = []
        while sum(map(len, rebuilt)) < len(seen):
            rebuilt.append(first[seen[sum(map(len, rebuilt))]])
        assert [token for sentence in rebuilt for token in sentence] == seen
        assert sorted(rebuilt) == sorted(left)
        moved += rebuilt != left
    assert moved > 20


def test_a_document_is_rotated() -> None:
    text = apart(KNOWN, 30).tolist()
    begins = set()
    for key in range(300):
        seen = inside(prepared(np.array(text), "rotate", key=key))
        begin = text.index(seen[0])
        assert seen == text[begin:] + text[:begin]
        begins.add(begin)
    assert begins == set(range(30))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10])
def test_short_texts_never_grow(n: int) -> None:
    for key in range(50):
        text = apart(KNOWN, n, key)
        assert len(inside(prepared(text, *NOISES, key=key))) <= n


def test_equal_keys_give_equal_examples() -> None:
    text = apart(KNOWN, 100)
    first, again, other = (prepared(text, key=key).tokens.tolist() for key in (5, 5, 6))
    assert first == again
    assert first != other


def test_what_is_missing_is_named() -> None:
    assert Denoising().faults(SETTING) == []
    blind = vocabulary(40, Roles(pad=0, eos=1))
    assert ["mask" in str(fault) for fault in Denoising().faults(SETTING._replace(vocabulary=blind))] == [True]
    assert Denoising(noises=("rotate",)).faults(SETTING._replace(vocabulary=blind)) == []
    wrong = Denoising(noises=("shout",), rate=0.0)  # type: ignore[arg-type]
    words = " ".join(map(str, wrong.faults(SETTING._replace(spec=GPT2.build()))))
    assert all(word in words for word in ("shout", "rate=0.0", "encoder-decoder"))
