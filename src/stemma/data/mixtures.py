"""Which documents an epoch takes from each of several corpora."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stemma.data.corpus import Corpus, draws
from stemma.errors import Fault, InputError

_PASS, _EPOCH = 2, 3


def language_shares(tokens: Sequence[float], alpha: float) -> NDArray[np.float64]:
    """The share of each language, p_l = n_l^alpha / sum_k n_k^alpha (Conneau and Lample 2019, section 3.1).

    Args:
        tokens: n_l, how many each language has.
        alpha: 1 takes the languages as they are; the nearer to 0, the more alike their shares.

    >>> language_shares([900, 100], 0.5)
    array([0.75, 0.25])
    """
    powers = np.asarray(tokens, dtype=np.float64) ** alpha
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


class Mixture:
    """An endless sequence of documents from several corpora, in epochs of about as many tokens as they have together.

    Each corpus goes round in shuffles of its own: an epoch takes the next of its documents, as many as its language's
    share asks for, and shuffles them among the others'. With alpha=1 that is each document once.

    Args:
        corpora: languages are told apart by their names; those of one keep their proportion.
        seed: of all shuffles.
        alpha: as in `language_shares`.

    Raises:
        InputError: no corpus, an empty one, or an alpha that is no exponent.
    """

    def __init__(self, corpora: Sequence[Corpus], seed: int, alpha: float = 1.0) -> None:
        faults = [
            Fault(f"corpora[{number}]", len(corpus), "documents are too few", "check its source")
            for number, corpus in enumerate(corpora)
            if not len(corpus)
        ]
        if not corpora:
            faults.append(Fault("corpora", [], "must not be empty", "name one"))
        if not 0 <= alpha <= 1:
            faults.append(Fault("alpha", alpha, "must lie from 0 to 1", "use 1 for the corpora as they are"))
        if faults:
            raise InputError("mixture", faults)
        self._seed = seed
        self._sizes = [len(corpus) for corpus in corpora]
        self.first = np.concatenate([[0], np.cumsum(self._sizes)])
        """The number of each corpus's first document in the run of all."""
        tokens = np.array([corpus.n_tokens for corpus in corpora], dtype=np.float64)
        names = list(dict.fromkeys(corpus.languages for corpus in corpora))
        group = np.array([names.index(corpus.languages) for corpus in corpora])
        of_group = np.bincount(group, tokens)
        times = (language_shares(of_group.tolist(), alpha) * tokens.sum() / of_group)[group]
        self._taken = [max(1, round(size * time)) for size, time in zip(self._sizes, times, strict=True)]

    @property
    def whole(self) -> bool:
        """Whether each epoch has every document once."""
        return self._taken == self._sizes

    def epoch(self, number: int) -> NDArray[np.int64]:
        """The documents of an epoch in their order, by their numbers in the run of corpora."""
        taken = [self.first[corpus] + self._next(corpus, number) for corpus in range(len(self._sizes))]
        order: NDArray[np.int64] = draws(self._seed, _EPOCH, number).permutation(np.concatenate(taken))
        return order

    def _next(self, corpus: int, epoch: int) -> NDArray[np.int64]:
        """Documents [epoch * taken, (epoch + 1) * taken) of a corpus's endless shuffles."""
        size, taken = self._sizes[corpus], self._taken[corpus]
        start, stop = epoch * taken, (epoch + 1) * taken
        rounds = range(start // size, -(-stop // size))
        shuffles = [draws(self._seed, _PASS, number, corpus).permutation(size) for number in rounds]
        return np.concatenate(shuffles)[start % size :][:taken]
