"""Where words stand in a row, and which of them are chosen, alone or several in a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stemma.data import Ids
from stemma.objectives.example import Example
from stemma.objectives.vocabulary import Vocabulary

Stretches = NDArray[np.int64]
"""k x 2; the first place of each stretch and the one after its last, in their order."""


@dataclass(frozen=True)
class Words:
    """The words of a row, special tokens left out.

    Args:
        starts: first place of each.
        stops: place after the last of each.
        reach: for each word, the number after that of the last word of its text.
    """

    starts: Ids
    stops: Ids
    reach: Ids

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def sizes(self) -> Ids:
        """Tokens of each."""
        return self.stops - self.starts

    @classmethod
    def of(cls, example: Example, vocabulary: Vocabulary) -> Words:
        """Those of a row; a special token ends a text, as a document's end does."""
        tokens = example.tokens
        documents = example.inputs.get("documents", np.zeros_like(tokens))
        first = vocabulary.begins[tokens]
        first[1:] |= vocabulary.ends[tokens[:-1]] | (documents[1:] != documents[:-1])
        first[:1] = True
        starts = np.flatnonzero(first)
        stops = np.append(starts[1:], len(tokens))
        free = ~vocabulary.special[tokens[starts]]
        starts, stops = starts[free], stops[free]
        opens = np.ones(len(starts), dtype=bool)
        opens[1:] = (starts[1:] != stops[:-1]) | (documents[starts[1:]] != documents[starts[:-1]])
        ends = np.append(np.flatnonzero(opens)[1:], len(starts))
        return cls(starts, stops, ends[opens.cumsum() - 1])


def choose(words: Words, budget: int, lengths: Ids, draws: np.random.Generator, *, apart: bool = False) -> Stretches:
    """Stretches of words at random places, until a number of tokens is spent.

    A stretch begins with a word that is drawn like any other. It ends early at its text's end and where the budget
    does, but is never shortened by another one: it looks for a different place instead, so that the lengths keep their
    distribution. Words that do not fit into what is left of the budget are passed over, as in BERT's code.

    Args:
        words: to choose from.
        budget: tokens.
        lengths: in words, of one stretch after the other; as many as there are words.
        draws: the source of places.
        apart: leave at least one word between two stretches.
    """
    taken = np.zeros(len(words), dtype=bool)
    found: list[tuple[int, int]] = []
    for first in draws.permutation(len(words)):
        if budget == 0:
            break
        stop = min(first + lengths[len(found)], words.reach[first])
        if taken[first:stop].any():
            continue
        start = words.starts[first]
        stop = first + np.searchsorted(words.stops[first:stop] - start, budget, side="right")
        if stop == first:
            continue
        taken[max(first - apart, 0) : stop + apart] = True
        budget -= words.stops[stop - 1] - start
        found.append((start, words.stops[stop - 1]))
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)


def places_of(stretches: Stretches) -> tuple[Ids, Ids]:
    """The number of the stretch that each place belongs to, and its place in that stretch.

    >>> [part.tolist() for part in places_of(np.array([[4, 6], [9, 12]]))]
    [[0, 0, 1, 1, 1], [0, 1, 0, 1, 2]]
    """
    lengths = stretches[:, 1] - stretches[:, 0]
    numbers = np.repeat(np.arange(len(stretches)), lengths)
    return numbers, np.arange(len(numbers)) - np.repeat(lengths.cumsum() - lengths, lengths)
