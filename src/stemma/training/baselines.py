"""What counting alone reaches on the very targets that a network is tried on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn, no_grad

from stemma.data import Ids
from stemma.objectives import Batch, Example, Pass, Vocabulary
from stemma.objectives.objective import PRODUCTS
from stemma.training.learner import Lesson

Floats = NDArray[np.float64]

# Terms whose targets follow what is read at their place.
_FOLLOWING = frozenset({"next", "before", "text"})
# Those that are right or wrong by what a generator draws.
_YET_TO_COME = frozenset({"replaced"})
MOST_ROWS = 20_000


class Targets(NamedTuple):
    """Targets of a term over many rows.

    Args:
        before: the token that is read where each is asked for.
        ids: what is right.
    """

    before: Ids
    ids: Ids


@dataclass(frozen=True)
class Baseline:
    """Cross-entropies of counted models on held-out targets, in nats.

    Args:
        targets: how many there are.
        unigram: by how often each target was met, plus one.
        bigram: by what it followed, too: Kneser-Ney; None where targets do not follow what is read.
    """

    targets: int
    unigram: float
    bigram: float | None = None


def baselines(lesson: Lesson, held_out: Lesson, n_learnt: int, n_held_out: int) -> dict[str, Baseline]:
    """The baselines of each term.

    Args:
        lesson: whose first rows are counted.
        held_out: whose first rows are predicted.
        n_learnt: rows of the former, at most `MOST_ROWS`.
        n_held_out: rows of the latter.
    """
    vocabulary = lesson.setting.vocabulary
    learnt = gather(lesson, range(min(n_learnt, MOST_ROWS)))
    found = {}
    for term, asked in gather(held_out, range(n_held_out)).items():
        counted = learnt.get(term, asked)
        size = vocabulary.size if term in PRODUCTS else int(max(counted.ids.max(), asked.ids.max())) + 1
        following = term in _FOLLOWING
        found[term] = Baseline(
            len(asked.ids),
            unigram_loss(counted.ids, asked.ids, size),
            bigram_loss(counted, asked, size) if following else None,
        )
    return found


@no_grad()
def drawn_baselines(asks: Pass, companions: nn.ModuleDict, batches: Iterable[Batch]) -> dict[str, Baseline]:
    """The baselines of terms whose targets a companion draws: the entropy of how often each is drawn here.

    Args:
        asks: a pass.
        companions: as they drew when the network was tried.
        batches: held-out ones, where the companions are.
    """
    found: dict[str, list[Ids]] = {}
    companions.eval()
    for batch in batches:
        for term in _YET_TO_COME & batch.asked.keys():
            found.setdefault(term, []).append(asks.seen(companions, batch).asked[term].ids.cpu().numpy())
    ids = {term: np.concatenate(parts) for term, parts in found.items()}
    return {term: Baseline(len(drawn), unigram_loss(drawn, drawn, 2)) for term, drawn in ids.items()}


def gather(lesson: Lesson, numbers: Iterable[int]) -> dict[str, Targets]:
    """All targets of some rows, by their terms."""
    found: dict[str, list[Targets]] = {}
    spelling = _Spelling(lesson.setting.vocabulary)
    for number in numbers:
        example = lesson.asks.prepare(lesson.row(number), lesson.setting)
        read = spelling.ids(example)
        for term, targets in example.targets.items():
            at = targets.places if term in _FOLLOWING else np.zeros(len(targets.ids), dtype=np.int64)
            found.setdefault(term, []).append(Targets(read[at], targets.ids))
    known = {term: parts for term, parts in found.items() if term not in _YET_TO_COME}
    return {
        term: Targets(*(np.concatenate(part) for part in zip(*parts, strict=True))) for term, parts in known.items()
    }


def unigram_loss(learnt: Ids, asked: Ids, size: int) -> float:
    """The mean of -log p, p(w) = (c(w) + 1) / (n + size).

    >>> round(float(np.exp(-unigram_loss(np.array([0, 0, 1]), np.array([0]), 2))), 6)
    0.6
    """
    counts = np.bincount(learnt, minlength=size) + 1.0
    return float(-np.log(counts[asked] / counts.sum()).mean())


def bigram_loss(learnt: Targets, asked: Targets, size: int) -> float:
    """The mean of -log p(w | v) by interpolated Kneser-Ney (Kneser and Ney 1995; Chen and Goodman 1999, section 2.7).

    p(w | v) = max(c(vw) - d, 0) / c(v) + d n(v) / c(v) q(w), where n(v) counts the words that follow v, and q(w) the
    words that w follows, smoothed likewise by the uniform distribution; d = n1 / (n1 + 2 n2) (Ney et al. 1994).

    Args:
        learnt: what is counted.
        asked: what is predicted.
        size: of the vocabulary.
    """
    pairs, counts = np.unique(learnt.before * size + learnt.ids, return_counts=True)
    first, second = np.divmod(pairs, size)
    lower = _discounted(np.bincount(second, minlength=size), np.full(size, 1.0 / size))
    share = _discount(counts)
    total = np.bincount(first, weights=counts, minlength=size)
    kinds = np.bincount(first, minlength=size)
    wanted = asked.before * size + asked.ids
    place = np.searchsorted(pairs, wanted).clip(max=len(pairs) - 1)
    met = np.where(pairs[place] == wanted, counts[place] - share, 0.0)
    n = total[asked.before]
    # What was never met before says nothing of what follows.
    left = np.divide(share * kinds[asked.before], n, out=np.ones(len(n)), where=n > 0)
    p = np.divide(met, n, out=np.zeros(len(n)), where=n > 0) + left * lower[asked.ids]
    return float(-np.log(p).mean())


def _discounted(counts: NDArray[Any], lower: Floats) -> Floats:
    """Counts less a discount, which goes to the lower distribution."""
    share, total = _discount(counts[counts > 0]), counts.sum()
    smoothed: Floats = np.maximum(counts - share, 0.0) / total + share * np.count_nonzero(counts) / total * lower
    return smoothed


def _discount(counts: NDArray[Any]) -> float:
    """What each count is lessened by, by how many counts are one and how many are two."""
    ones, twos = int((counts == 1).sum()), int((counts == 2).sum())
    # Of a few counts there may be none of one or of two, where all would be kept or all be given away.
    return min(0.95, max(0.05, ones / max(1, ones + 2 * twos)))


class _Spelling:
    """Reads tokens that are ids, or ids that are spelt."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        spelt = np.empty((0, 0), dtype=np.int64) if vocabulary.spelt is None else vocabulary.spelt
        self._known = {row.tobytes(): token for token, row in enumerate(spelt)}

    def ids(self, example: Example) -> Ids:
        """What is read where targets are asked for: the decoder's tokens, where there is one."""
        tokens = example.inputs.get("decoder_tokens", example.tokens)
        if tokens.ndim == 1:
            return tokens
        return np.array([self._known[np.ascontiguousarray(row).tobytes()] for row in tokens], dtype=np.int64)
