"""Steps gone astray: losses and gradients that are no numbers, and losses that leap."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stemma.training.plan import Guards


@dataclass
class Watch:
    """The running mean and deviation of a run's loss; all of it belongs to a checkpoint.

    Args:
        weight: sum of the weights of what was seen, which grows towards 1.
        mean: their weighted sum.
        square: that of their squares.
        seen: how many losses.
        skipped: steps in a row that were skipped up to now.
    """

    weight: float = 0.0
    mean: float = 0.0
    square: float = 0.0
    seen: int = 0
    skipped: int = 0

    def judge(self, loss: float, norm: float, guards: Guards) -> Verdict:
        """Whether a step is to be taken; its loss counts from now on if it is.

        Args:
            loss: of the whole step, in nats.
            norm: of its gradient, before it is clipped.
            guards: what to do.
        """
        event, policy = self._fault(loss, norm, guards)
        if policy == "skip":
            self.skipped += 1
            if self.skipped > guards.most:
                return Verdict(f"{event}; {guards.most} steps in a row were skipped before it", False, True)
            return Verdict(f"{event}; the step is skipped", False, False)
        self.skipped = 0
        if policy == "stop":
            return Verdict(f"{event}; the run ends", False, True)
        if math.isfinite(loss):
            share = 1.0 - guards.memory
            self.weight += share * (1.0 - self.weight)
            self.mean += share * (loss - self.mean)
            self.square += share * (loss * loss - self.square)
            self.seen += 1
        return Verdict(event, True, False)

    def _fault(self, loss: float, norm: float, guards: Guards) -> tuple[str | None, str | None]:
        for name, value in (("loss", loss), ("gradient", norm)):
            if not math.isfinite(value):
                return f"the {name} is {value}", guards.broken
        if self.seen >= max(2, guards.patience):
            mean = self.mean / self.weight
            deviation = math.sqrt(max(0.0, self.square / self.weight - mean * mean))
            if loss > mean + guards.deviations * deviation:
                return f"the loss {loss:.4g} leaps above {mean:.4g} +- {deviation:.2g}", guards.spike
        return None, None


@dataclass(frozen=True)
class Verdict:
    """What becomes of a step.

    Args:
        event: what was wrong with it; None where nothing was.
        taken: whether the parameters move.
        stop: whether the run ends.
    """

    event: str | None
    taken: bool
    stop: bool
