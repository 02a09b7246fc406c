"""The ids of a corpus, document by document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stemma.data.row import Ids
from stemma.errors import Fault, InputError


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents of one or two parts, as ids without special tokens.

    Args:
        shards: flat arrays of ids, mapped from files or in memory.
        shard: n; in which shard each document stands.
        starts: n; where it begins there.
        lengths: n x parts; tokens of each part, which follow each other.
        languages: the name of each part's language.
        meta: what is known of its making: source, report, tokenizer.
    """

    shards: Sequence[NDArray[Any]]
    shard: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    languages: tuple[str, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Iterable[Sequence[Any]], languages: tuple[str, ...] = ("",)) -> Self:
        """A corpus in memory.

        Args:
            documents: the ids of each; where there are two languages, of both parts.
            languages: the name of each part's language.

        >>> Corpus.of([[5, 6], [7]]).parts(1)
        (array([7]),)
        """
        rows: list[Any] = list(documents)
        parts = [[row] if len(languages) == 1 else row for row in rows]
        lengths = np.array([[len(part) for part in row] for row in parts], dtype=np.int64).reshape(-1, len(languages))
        ids = np.array([i for row in parts for part in row for i in part], dtype=np.int64)
        return cls.laid_out([ids], [len(rows)], lengths, languages)

    @classmethod
    def laid_out(
        cls,
        shards: Sequence[NDArray[Any]],
        counts: Sequence[int],
        lengths: NDArray[np.int64],
        languages: tuple[str, ...],
        meta: dict[str, Any] | None = None,
    ) -> Self:
        """Documents that follow each other in their shards.

        Args:
            shards: flat arrays of ids.
            counts: documents in each.
            lengths: documents x parts.
            languages: as above.
            meta: as above.
        """
        shard = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        sizes = lengths.sum(1)
        ends = np.cumsum(sizes)
        before = np.array([0, *np.cumsum([len(ids) for ids in shards])])
        return cls(shards, shard, ends - sizes - before[shard], lengths, languages, meta or {})

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def n_documents(self) -> int:
        """How many documents there are."""
        return len(self)

    @property
    def n_tokens(self) -> int:
        """How many tokens they have together."""
        return int(self.lengths.sum())

    def parts(self, number: int) -> tuple[Ids, ...]:
        """The ids of a document's parts.

        Args:
            number: of the document, from 0.
        """
        ids = self.shards[self.shard[number]]
        start, sizes = int(self.starts[number]), self.lengths[number]
        whole: Ids = ids[start : start + int(sizes.sum())].astype(np.int64)
        return (whole,) if len(sizes) == 1 else tuple(np.split(whole, np.cumsum(sizes)[:-1]))

    def stretch(self, number: int, start: int, stop: int) -> Ids:
        """Some of the ids of a document of one part."""
        first = int(self.starts[number])
        ids: Ids = self.shards[self.shard[number]][first + start : first + stop].astype(np.int64)
        return ids

    def take(self, numbers: NDArray[np.integer[Any]]) -> Corpus:
        """A corpus of some of the documents; the ids stay where they are."""
        return replace(self, shard=self.shard[numbers], starts=self.starts[numbers], lengths=self.lengths[numbers])

    def counts(self, vocab_size: int) -> NDArray[np.int64]:
        """How often each id occurs in the shards of this corpus.

        Args:
            vocab_size: how many ids there are.
        """
        found = np.zeros(vocab_size, dtype=np.int64)
        for ids in self.shards:
            for start in range(0, len(ids), 1 << 22):
                found += np.bincount(ids[start : start + (1 << 22)], minlength=vocab_size)
        return found


def split(corpus: Corpus, share: float, seed: int) -> tuple[Corpus, Corpus]:
    """Two corpora without a document in common: one to learn from and one that is held out.

    Args:
        corpus: of at least two documents.
        share: of the documents, to be held out; at least one is.
        seed: of the draw.

    Raises:
        InputError: a share that is none, or too few documents.

    >>> first, held = split(Corpus.of([[1], [2], [3]]), 0.1, seed=0)
    >>> len(first), len(held)
    (2, 1)
    """
    faults = []
    if not 0 < share < 1:
        faults.append(Fault("share", share, "must lie between 0 and 1", "use such as 0.01"))
    if len(corpus) < 2:
        rule = "is too few documents to hold one out"
        faults.append(Fault("documents", len(corpus), rule, "split files at paragraphs or lines, or give more"))
    if faults:
        raise InputError("split", faults)
    order = draws(seed, _SPLIT).permutation(len(corpus))
    n_held = min(max(1, round(share * len(corpus))), len(corpus) - 1)
    return corpus.take(np.sort(order[n_held:])), corpus.take(np.sort(order[:n_held]))


_SPLIT = 1


def draws(seed: int, purpose: int, *place: int) -> np.random.Generator:
    """A source of randomness of its own for each purpose and place of a run.

    Args:
        seed: of the run.
        purpose: a number from 1, by which no two uses are alike; rows draw with 0.
        place: such as an epoch.
    """
    # A seed sequence fills up with zeros: the purpose stands where the keys of rows have one.
    words = (*place, 0, 0)[:2]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *words, purpose))))
