"""Words as the ids of their characters, as ELMo reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Ids of the authors' code (bilm-tf, data.py), to which 1 is added so that 0 can stand for no character at all.
_SENTENCE_BEGIN, _SENTENCE_END, _WORD_BEGIN, _WORD_END, _PADDING = 256, 257, 258, 259, 260
_SHIFT = 1

N_CHARACTERS = 262
"""Ids: 256 bytes, five marks and 0."""


def spell(word: str, max_characters: int = 50) -> list[int]:
    """A word as ids: its beginning, its bytes in UTF-8, its end, and padding.

    Args:
        word: a longer one than fits is cut.
        max_characters: ids of the result, at least 3.

    >>> spell("né", 7)
    [259, 111, 196, 170, 260, 261, 261]
    """
    return _between(word.encode("utf-8", "ignore"), max_characters)


def spell_sentence(words: Sequence[str], max_characters: int = 50) -> list[list[int]]:
    """A sentence as the ids of its words, between those of its beginning and its end.

    Args:
        words: already cut apart.
        max_characters: ids a word.

    >>> spell_sentence(["a"], 3)
    [[259, 257, 260], [259, 98, 260], [259, 258, 260]]
    """
    begin, end = (_between([mark], max_characters) for mark in (_SENTENCE_BEGIN, _SENTENCE_END))
    return [begin, *(spell(word, max_characters) for word in words), end]


def spell_batch(sentences: Sequence[Sequence[str]], max_characters: int = 50) -> list[list[list[int]]]:
    """Sentences as rows of one length; words of zeros stand after the shorter ones.

    Args:
        sentences: of words already cut apart.
        max_characters: ids a word.

    >>> [len(row) for row in spell_batch([["a", "b"], ["c"]])]
    [4, 4]
    """
    rows = [spell_sentence(words, max_characters) for words in sentences]
    longest = max(map(len, rows), default=0)
    return [row + [[0] * max_characters] * (longest - len(row)) for row in rows]


def _between(characters: Iterable[int], max_characters: int) -> list[int]:
    spelt = [_WORD_BEGIN, *[*characters][: max_characters - 2], _WORD_END]
    return [code + _SHIFT for code in spelt + [_PADDING] * (max_characters - len(spelt))]
