"""Vocabularies of numbers, and rows of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stemma.data import Frame, Ids, Piece, Row
from stemma.objectives import Vocabulary
from stemma.text import Roles

N_MARKS = 4
ENDED = Roles(pad=0, eos=1, mask=2, unk=3)
BOUNDED = Roles(bos=0, pad=1, eos=2, mask=3)
CLASSED = Roles(pad=0, cls=1, sep=2, mask=3)


def vocabulary(size: int = 37, roles: Roles = ENDED, *, sentinels: int = 6, spelling: int | None = None) -> Vocabulary:
    """Marks first, sentinels last and backwards as in T5; half of all ids begin a word, a seventh end a sentence."""
    ids = np.arange(size)
    special = (ids < N_MARKS) | (ids >= size - sentinels)
    return Vocabulary(
        size,
        roles,
        special,
        special | (ids % 2 == 0),
        special,
        ~special & (ids % 7 == 0),
        ids[size - sentinels :][::-1].copy(),
        None if spelling is None else np.stack([np.pad([1 + token % 200, 7], (0, spelling - 2)) for token in ids]),
        roles.pad if roles.bos is None else roles.eos,
    )


def row(text: Ids, frame: Frame | None = None, key: tuple[int, ...] = (0,)) -> Row:
    """One document."""
    return Row((document(text, frame),), key)


def document(text: Ids, frame: Frame | None = None) -> Piece:
    """A text in its frame."""
    ends = frame or Frame()
    return Piece((np.array([*ends.before, *text, *ends.after], dtype=np.int64),))


def pair(first: Ids, second: Ids, key: tuple[int, ...] = (0,)) -> Row:
    """A document of two parts, of the first language and the third."""
    return Row((Piece((first, second), languages=(0, 2)),), key)


def texts(vocabulary: Vocabulary, n_tokens: int, length: int, seed: int = 0) -> Iterator[Ids]:
    """Texts of random tokens, as many as have so many tokens together."""
    draws = np.random.default_rng(seed)
    for _ in range(n_tokens // length):
        yield draws.choice(vocabulary.ordinary, length)


def apart(vocabulary: Vocabulary, n: int, seed: int = 0) -> Ids:
    """A text of which no token occurs twice."""
    return np.random.default_rng(seed).permutation(vocabulary.ordinary)[:n]
