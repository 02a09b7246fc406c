"""One hypothesis a prompt: the likeliest token or a drawn one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stemma.generation.hypothesis import Ends, Hypothesis, nothing_to_choose, stream_seed
from stemma.generation.strategies import Greedy, Sample

# Tokens that nearly always hold all of a nucleus: sorting a whole vocabulary costs thirty times as much.
_FIRST_GUESS = 256


class Singles:
    """Greedy decoding and sampling, all prompts at once.

    Args:
        strategy: how to choose.
        prompts: ids, from which the draws' seeds follow.
        histories: the ids before the first new one, for each prompt.
        ends: whether a hypothesis ends with its newest token.
    """

    def __init__(
        self, strategy: Greedy | Sample, prompts: Sequence[Sequence[int]], histories: list[list[int]], ends: Ends
    ) -> None:
        self._strategy = strategy
        self._histories = histories
        self._ends = ends
        self._live = list(range(len(prompts)))
        self._tokens: list[list[int]] = [[] for _ in prompts]
        self._logprobs: list[list[float]] = [[] for _ in prompts]
        self._finished = [False] * len(prompts)
        seed = strategy.seed if isinstance(strategy, Sample) else 0
        self._draws = [Random(stream_seed(seed, prompt)) for prompt in prompts]

    def advance(self, logits: Float[Tensor, "B V"], offered: Float[Tensor, "B V"]) -> tuple[list[int], list[int]]:
        """Choose one token a row; see `Frontier.advance`."""
        picks = self._pick(offered)
        tokens: list[int] = picks.tolist()
        logprobs: list[float] = logits.log_softmax(-1).gather(-1, picks[:, None]).flatten().tolist()
        weighed = logprobs if offered is logits else offered.gather(-1, picks[:, None]).flatten().tolist()
        return self.take(tokens, logprobs, weighed)

    def take(
        self, tokens: Sequence[int], logprobs: Sequence[float], weighed: Sequence[float]
    ) -> tuple[list[int], list[int]]:
        """Go on with chosen tokens.

        Args:
            tokens: one a row.
            logprobs: theirs.
            weighed: what each was chosen for.

        Returns:
            As `Frontier.advance`.
        """
        if not all(map(math.isfinite, (*logprobs, *weighed))):
            raise nothing_to_choose(f"those of new token {len(self._tokens[self._live[0]]) + 1}")
        rows = []
        for row, (prompt, token, logprob) in enumerate(zip(self._live, tokens, logprobs, strict=True)):
            self._tokens[prompt].append(token)
            self._logprobs[prompt].append(logprob)
            self._finished[prompt] = self._ends(prompt, self._tokens[prompt])
            if not self._finished[prompt]:
                rows.append(row)
        self._live = [self._live[row] for row in rows]
        return rows, [tokens[row] for row in rows]

    def ids(self) -> list[list[int]]:
        """For each row the ids so far."""
        return [self._histories[prompt] + self._tokens[prompt] for prompt in self._live]

    def results(self) -> list[list[Hypothesis]]:
        """For each prompt its one hypothesis, ranked by its log-probability."""
        return [
            [Hypothesis(tuple(tokens), tuple(logprobs), sum(logprobs), sum(logprobs), finished)]
            for tokens, logprobs, finished in zip(self._tokens, self._logprobs, self._finished, strict=True)
        ]

    def _pick(self, logits: Float[Tensor, "B V"]) -> Int[Tensor, " B"]:
        if isinstance(self._strategy, Greedy):
            return _largest(logits)
        ids = self.ids() if self._strategy.repetition_penalty != 1 else []
        # 48 bits keep u * total below the total, whatever the rounding.
        u = [self._draws[prompt].getrandbits(48) * 2.0**-48 for prompt in self._live]
        return draw(warp(logits, ids, self._strategy), torch.tensor(u, dtype=torch.float64, device=logits.device))


def _largest(logits: Float[Tensor, "B V"]) -> Int[Tensor, " B"]:
    """The place of the largest in each row; on a processor by numpy, which takes a tenth of the time."""
    return torch.from_numpy(logits.numpy().argmax(-1)) if logits.device.type == "cpu" else logits.argmax(-1)


def warp(logits: Float[Tensor, "B V"], ids: Sequence[Sequence[int]], strategy: Sample) -> Float[Tensor, "B V"]:
    """Bend logits as `Sample` says; -inf where a token is cut off.

    Args:
        logits: the model's.
        ids: for each row the ids so far; read only where there is a repetition penalty.
        strategy: what to do.
    """
    if strategy.repetition_penalty != 1:
        logits = logits.clone()
        for row, seen in zip(logits, ids, strict=True):
            places = torch.tensor(sorted(set(seen)), dtype=torch.long, device=logits.device)
            old = row[places]
            row[places] = torch.where(old > 0, old / strategy.repetition_penalty, old * strategy.repetition_penalty)
    if strategy.temperature != 1:
        logits = logits / strategy.temperature
    if strategy.top_k is not None and strategy.top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(strategy.top_k).values[:, -1:], -math.inf)
    if strategy.top_p is not None and strategy.top_p < 1:
        probabilities = logits.softmax(-1)
        logits = logits.masked_fill(probabilities < _nucleus_edge(probabilities, strategy.top_p), -math.inf)
    if strategy.min_p:
        least = logits.amax(-1, keepdim=True) + math.log(strategy.min_p)
        logits = logits.masked_fill(logits < least, -math.inf)
    return logits


def _nucleus_edge(probabilities: Float[Tensor, "B V"], top_p: float) -> Float[Tensor, "B 1"]:
    """The least probability inside each row's nucleus."""
    size = _FIRST_GUESS
    while True:
        largest = probabilities.topk(min(size, probabilities.shape[-1])).values
        totals = largest.double().cumsum(-1)
        if size >= probabilities.shape[-1] or bool((totals[:, -1] >= top_p).all()):
            break
        size *= 8
    inside = (totals - largest < top_p).sum(-1, keepdim=True)
    # Logits that are no numbers put nothing inside; the draw reports them.
    return largest.gather(-1, (inside - 1).clamp(min=0))


def draw(logits: Float[Tensor, "B V"], u: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Tokens by the inverse of the cumulated probabilities.

    Args:
        logits: of any scale; -inf is never drawn.
        u: one number in [0, 1) a row.

    >>> draw(torch.tensor([[0.0, 0.0], [0.0, -math.inf]]), torch.tensor([0.6, 0.9]))
    tensor([1, 0])
    """
    cumulated = logits.softmax(-1).double().cumsum(-1)
    tokens = torch.searchsorted(cumulated, (u * cumulated[:, -1])[:, None], right=True).squeeze(-1)
    # Only logits that are no numbers lead past the end, and those are reported by whoever drew.
    return tokens.clamp(max=logits.shape[-1] - 1)
