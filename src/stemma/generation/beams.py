"""Beam search for one prompt, in one group of beams or in several that avoid one another."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from stemma.generation.hypothesis import Hypothesis, nothing_to_choose
from stemma.generation.strategies import DiverseBeam


@dataclass(frozen=True, slots=True)
class Path:
    """A beginning that a search follows.

    Args:
        row: of the batch's rows for this prompt, the one that it continues.
        tokens: its new ids.
        logprobs: of each under the model.
        value: what it ranks by.
        phi: its log-probability under the distribution that is drawn from, in stochastic beams.
    """

    row: int
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    value: float = 0.0
    phi: float = 0.0

    def hypothesis(self, score: float, finished: bool) -> Hypothesis:
        """What this path is as a result."""
        return Hypothesis(self.tokens, self.logprobs, sum(self.logprobs), score, finished)


class GroupedBeams:
    """The beams of one prompt.

    At each step the continuations of a group's beams are ranked. Of the first `width` those that end are pooled, and
    the first `width` that do not end go on; ties go to the earlier beam, then to the lower id. A group is done when its
    pool is full and no beam can still beat the worst text in it, or when it is one beam and that ends.

    Args:
        strategy: sizes and penalties; plain beam search is the case of one group.
        ends: whether a path ends with its newest token.
        n_stops: ids that end a text.
        limit: the most new tokens.
    """

    def __init__(self, strategy: DiverseBeam, ends: Callable[[Sequence[int]], bool], n_stops: int, limit: int) -> None:
        self._strategy = strategy
        self._ends = ends
        self._limit = limit
        self._width = strategy.width // strategy.groups
        # Enough for `width` that go on: at most `n_stops` a beam end by their id, and some because they are watched.
        self._candidates = self._width * (2 + n_stops)
        self._length = 0
        self._groups = [[Path(0)] for _ in range(strategy.groups)]
        self._pools: list[list[Hypothesis]] = [[] for _ in range(strategy.groups)]

    @property
    def live(self) -> list[Path]:
        """The paths that go on, group after group; each names the row that it continues."""
        return [path for group in self._groups for path in group]

    def advance(self, logprobs: Float[Tensor, "R V"], ranked: Float[Tensor, "R V"]) -> None:
        """Continue every live path by one token; see `StochasticBeams.advance`."""
        self._length += 1
        taken: Counter[int] = Counter()
        for index, group in enumerate(self._groups):
            if group:
                self._groups[index] = self._continue(group, self._pools[index], logprobs, ranked, taken)

    def settle(self) -> None:
        """Let each live path stand for the row that the batch now has for it."""
        rows = iter(settled(self.live))
        self._groups = [[next(rows) for _ in group] for group in self._groups]

    def results(self) -> list[Hypothesis]:
        """The best different texts of all groups, the best first."""
        ranked = sorted((text for pool in self._pools for text in pool), key=lambda text: -text.score)
        # Groups may find the same text; the one that ranks higher stands for it.
        different = {text.tokens: text for text in reversed(ranked)}
        return [text for text in ranked if different[text.tokens] is text][: self._strategy.n_best]

    def _continue(
        self,
        group: list[Path],
        pool: list[Hypothesis],
        logprobs: Float[Tensor, "R V"],
        ranked: Float[Tensor, "R V"],
        taken: Counter[int],
    ) -> list[Path]:
        values = torch.tensor([path.value for path in group], dtype=torch.float64, device=ranked.device)
        scores = ranked[[path.row for path in group]] + values[:, None]
        for token, count in taken.items():
            scores[:, token] -= self._strategy.diversity * count
        last = self._length == self._limit
        live: list[Path] = []
        chosen: list[int] = []
        for rank, path in enumerate(continuations(group, scores, self._candidates, logprobs)):
            if len(live) == self._width or (last and rank == self._width):
                break
            ended = self._ends(path.tokens)
            if not (ended or last):
                live.append(path)
            elif rank < self._width:
                pool.append(path.hypothesis(self._score(path.value, self._length), ended))
            else:
                continue
            chosen.append(path.tokens[-1])
        taken.update(chosen)
        # Stable, so that of equal texts the earlier stays in front.
        pool.sort(key=lambda text: -text.score)
        del pool[min(self._strategy.n_best, self._width) :]
        full = len(pool) == min(self._strategy.n_best, self._width)
        # A beam of one is greedy: where its likeliest continuation is an end, it ends.
        beaten = full and live and (self._width == 1 or self._bound(live[0].value) <= pool[-1].score)
        return [] if beaten else live

    def _score(self, value: float, length: int) -> float:
        return value / math.pow(length, self._strategy.length_penalty)

    def _bound(self, value: float) -> float:
        """The best score that a path can still reach: every further token is certain and the length is the best one."""
        length = self._limit if self._strategy.length_penalty > 0 else self._length + 1
        return self._score(value, length)


def continuations(
    paths: Sequence[Path], scores: Float[Tensor, "paths V"], count: int, logprobs: Float[Tensor, "R V"]
) -> list[Path]:
    """The best continuations by one token, the best first.

    Args:
        paths: what is continued.
        scores: what the continuations rank by.
        count: how many at most; -inf is left out.
        logprobs: the model's, by the paths' rows.

    Raises:
        InputError: the model gave something that is no number.
    """
    found = best(scores, count)
    rows = [paths[place].row for _, place, _ in found]
    gained = logprobs[rows, [token for _, _, token in found]].tolist()
    if any(map(math.isnan, gained)):
        raise nothing_to_choose("those of a beam")
    return [
        Path(row, (*path.tokens, token), (*path.logprobs, gain), value, path.phi)
        for row, gain, (value, place, token) in zip(rows, gained, found, strict=True)
        for path in (paths[place],)
    ]


def settled(paths: Sequence[Path]) -> list[Path]:
    """The paths with the rows that the batch now has for them."""
    return [replace(path, row=row) for row, path in enumerate(paths)]


def best(scores: Float[Tensor, "R V"], count: int) -> list[tuple[float, int, int]]:
    """The best finite scores, each with its row and its column; ties go to the earlier row, then to the lower column.

    Raises:
        InputError: a score is no number.

    >>> best(torch.tensor([[1.0, 3.0], [3.0, -math.inf]]), 4)
    [(3.0, 0, 1), (3.0, 1, 0), (1.0, 0, 0)]
    """
    flat = scores.flatten()
    values, places = flat.topk(min(count + 1, len(flat)))
    # topk takes what is no number for the largest.
    if values[0].isnan():
        raise nothing_to_choose("those of a beam")
    if len(values) > count and values[count - 1] == values[count] > -math.inf:
        # Of the equal ones topk takes any.
        places = (flat >= values[count]).nonzero().squeeze(-1)
        values = flat[places]
    found = sorted(zip((-values).tolist(), places.tolist(), strict=True))[:count]
    return [(-value, *divmod(place, scores.shape[-1])) for value, place in found if value < math.inf]
