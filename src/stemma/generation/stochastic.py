"""Stochastic beam search for one prompt: texts drawn without replacement."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from stemma.generation.beams import Path, continuations, settled
from stemma.generation.hypothesis import Hypothesis
from stemma.generation.strategies import StochasticBeam


class StochasticBeams:
    """The `width` texts with the largest perturbed log-probabilities (Kool et al. 2019, algorithm 1).

    A text's log-probability plus Gumbel noise ranks texts as a draw without replacement. The noise of all texts is
    found top-down: a beginning's value is the maximum over the texts that it leads to, so that the values of its
    continuations are drawn under the condition that their maximum is its own. Texts that end stay and compete.

    Args:
        strategy: sizes and temperature.
        ends: whether a path ends with its newest token.
        limit: the most new tokens.
        seed: of this prompt's noise.
    """

    def __init__(self, strategy: StochasticBeam, ends: Callable[[Sequence[int]], bool], limit: int, seed: int) -> None:
        self._strategy = strategy
        self._ends = ends
        self._limit = limit
        self._length = 0
        self._noise = torch.Generator().manual_seed(seed)
        self._texts: list[tuple[Path, bool]] = []
        self.live = [Path(0)]

    def advance(self, logprobs: Float[Tensor, "R V"], ranked: Float[Tensor, "R V"]) -> None:
        """Continue every live path by one token.

        Args:
            logprobs: the model's log-probabilities, one row for each row of this prompt.
            ranked: those to choose by.
        """
        self._length += 1
        if self._strategy.temperature != 1:
            ranked = (ranked / self._strategy.temperature).log_softmax(-1)
        phi = torch.tensor([path.phi for path in self.live], dtype=torch.float64, device=ranked.device)
        parents = torch.tensor([path.value for path in self.live], dtype=torch.float64, device=ranked.device)
        noise = torch.empty(ranked.shape, dtype=torch.float64).exponential_(generator=self._noise).log_().neg_()
        scores = truncated_gumbels(ranked + phi[:, None] + noise.to(ranked.device), parents)
        width = self._strategy.width
        grown = [
            (replace(path, phi=path.phi + ranked[path.row, path.tokens[-1]].item()), None)
            for path in continuations(self.live, scores, width, logprobs)
        ]
        kept = sorted([*self._texts, *grown], key=lambda entry: -entry[0].value)[:width]
        self._texts, self.live = [], []
        for path, known in kept:
            ended = self._ends(path.tokens) if known is None else known
            if known is not None or ended or self._length == self._limit:
                self._texts.append((path, ended))
            else:
                self.live.append(path)

    def settle(self) -> None:
        """Let each live path stand for the row that the batch now has for it."""
        self.live = settled(self.live)

    def results(self) -> list[Hypothesis]:
        """The texts in the order in which they were drawn; they score their perturbed log-probability."""
        return [path.hypothesis(path.value, ended) for path, ended in self._texts][: self._strategy.n_best]


def truncated_gumbels(noisy: Float[Tensor, "R V"], maxima: Float[Tensor, " R"]) -> Float[Tensor, "R V"]:
    """Gumbel variables under the condition that each row's maximum is the given one (Kool et al. 2019, appendix B.3).

    Args:
        noisy: free Gumbel variables; -inf for what cannot be chosen.
        maxima: what the largest of each row has to be.

    >>> truncated_gumbels(torch.tensor([[0.5, 2.0, -math.inf]]), torch.tensor([1.0])).max().item()
    1.0
    """
    largest = noisy.amax(-1, keepdim=True)
    # log(1 - exp(x)) for x <= 0, by the branch that keeps its digits.
    x = noisy - largest
    complement = torch.where(x > -math.log(2), (-x.expm1()).log(), (-x.exp()).log1p())
    v = maxima[:, None] - noisy + complement
    bounded = maxima[:, None] - v.clamp(min=0) - (-v.abs()).exp().log1p()
    return torch.where(noisy > -math.inf, bounded, noisy)
