"""The one loop in which every strategy works. It sees ids only."""

from __future__ import annotations

from collections.abc import Sequence, Set
from contextlib import nullcontext
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from stemma.generation.beams import GroupedBeams
from stemma.generation.hypothesis import (
    Ends,
    Frontier,
    Hypothesis,
    Processor,
    Watch,
    nothing_to_choose,
    stream_seed,
)
from stemma.generation.sampling import Singles
from stemma.generation.stepper import Alone, Chooser, Prompt, Stepper
from stemma.generation.stochastic import StochasticBeams
from stemma.generation.strategies import Beam, DiverseBeam, Greedy, Sample, StochasticBeam, Strategy


@torch.inference_mode()
def search(
    stepper: Stepper,
    prompts: Sequence[Prompt],
    strategy: Strategy,
    *,
    max_new_tokens: int,
    stops: Set[int] = frozenset(),
    watch: Watch | None = None,
    processor: Processor | None = None,
) -> list[list[Hypothesis]]:
    """Continue prompts; each gets what it would get alone.

    Args:
        stepper: a model.
        prompts: ids; what the encoder reads, where there is one.
        strategy: how to choose.
        max_new_tokens: the most tokens that a hypothesis may have.
        stops: ids that end a hypothesis.
        watch: sees every hypothesis as it grows and may end it.
        processor: bends the logits before the strategy sees them.

    Returns:
        For each prompt its hypotheses, the best first.

    Raises:
        InputError: naming every fault of the prompts; or logits that offer no token.
    """
    if not prompts:
        return []
    logits = _numbers(stepper.start(prompts, max_new_tokens))

    def ends(prompt: int, tokens: Sequence[int]) -> bool:
        told = watch is not None and watch(prompt, tokens)
        return told or tokens[-1] in stops

    frontier = _frontier(stepper, prompts, strategy, ends, len(stops), max_new_tokens)
    device, width, chosen = logits.device, len(logits), None
    greedy = isinstance(strategy, Greedy) and processor is None
    with stepper.alone() if isinstance(stepper, Alone) else nullcontext():
        for remaining in reversed(range(max_new_tokens)):
            if chosen is not None:
                assert isinstance(frontier, Singles)
                rows, tokens = frontier.take(*chosen, weighed=chosen[1])
            else:
                offered = logits if processor is None else processor(frontier.ids(), logits.clone())
                rows, tokens = frontier.advance(logits, offered)
            if not rows or not remaining:
                break
            if rows != list(range(width)):
                stepper.reorder(torch.tensor(rows, device=device))
            width = len(rows)
            if greedy and isinstance(stepper, Chooser):
                chosen = stepper.choose(tokens)
            else:
                logits = _numbers(stepper.step(torch.tensor(tokens, device=device)))
    return frontier.results()


class BeamsOfAll:
    """The beams of several prompts as one batch of rows.

    Args:
        beams: of each prompt.
        histories: the ids before the first new one, for each prompt.
    """

    def __init__(self, beams: Sequence[GroupedBeams | StochasticBeams], histories: list[list[int]]) -> None:
        self._beams = beams
        self._histories = histories
        # All groups of a prompt begin on its one row.
        self._rows = [1] * len(beams)

    def advance(self, logits: Float[Tensor, "B V"], offered: Float[Tensor, "B V"]) -> tuple[list[int], list[int]]:
        """Continue all prompts; see `Frontier.advance`."""
        logprobs = logits.log_softmax(-1)
        # A row whose every token is forbidden ends nowhere; the other beams go on.
        ranked = logprobs if offered is logits else offered.log_softmax(-1).nan_to_num(nan=-torch.inf)
        rows: list[int] = []
        tokens: list[int] = []
        first = 0
        for index, (beams, width) in enumerate(zip(self._beams, self._rows, strict=True)):
            if width:
                here = slice(first, first + width)
                beams.advance(logprobs[here], ranked[here])
                if not beams.live and not beams.results():
                    raise nothing_to_choose("those of every beam")
                rows += [first + path.row for path in beams.live]
                tokens += [path.tokens[-1] for path in beams.live]
                beams.settle()
                self._rows[index] = len(beams.live)
            first += width
        return rows, tokens

    def ids(self) -> list[list[int]]:
        """For each row the ids so far."""
        return [
            [*history, *path.tokens]
            for history, beams, width in zip(self._histories, self._beams, self._rows, strict=True)
            for path in beams.live[:width]
        ]

    def results(self) -> list[list[Hypothesis]]:
        """For each prompt its hypotheses, the best first."""
        return [beams.results() for beams in self._beams]


def _frontier(
    stepper: Stepper, prompts: Sequence[Prompt], strategy: Strategy, ends: Ends, n_stops: int, limit: int
) -> Frontier:
    histories = [stepper.history(prompt) for prompt in prompts]
    match strategy:
        case Greedy() | Sample():
            return Singles(strategy, prompts, histories, ends)
        case StochasticBeam():
            return BeamsOfAll(
                [
                    StochasticBeams(strategy, partial(ends, place), limit, stream_seed(strategy.seed, prompt))
                    for place, prompt in enumerate(prompts)
                ],
                histories,
            )
        case Beam(width=width, length_penalty=penalty, n_best=n_best):
            strategy = DiverseBeam(width=width, groups=1, diversity=0.0, length_penalty=penalty, n_best=n_best)
    return BeamsOfAll(
        [GroupedBeams(strategy, partial(ends, place), n_stops, limit) for place in range(len(prompts))], histories
    )


def _numbers(logits: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
    """Logits in at least single precision, in which sums over a vocabulary keep their digits."""
    return logits if logits.dtype == torch.float64 else logits.float()
