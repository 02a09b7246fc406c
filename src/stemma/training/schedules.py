"""How the learning rate goes over a run: pure functions from the number of a step to a factor."""

from __future__ import annotations

import math
from dataclasses import dataclass


def _rise(step: int, warmup: int) -> float:
    """Linear warm-up, which is never zero: the first step learns too."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def _share(step: int, first: int, last: int) -> float:
    """How much of the steps from the first up to the last is over, in [0, 1]."""
    return min(1.0, max(0.0, (step - first) / max(1, last - first)))


@dataclass(frozen=True, kw_only=True)
class Constant:
    """Warm-up, then 1.

    Args:
        warmup: steps.
    """

    warmup: int = 0

    def factor(self, step: int, steps: int) -> float:
        """The factor of the learning rate at a step of so many, counted from 0."""
        return _rise(step, self.warmup)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Warm-up, then straight down (Devlin et al. 2019, appendix A.2).

    Args:
        warmup: steps.
        floor: where it ends, a share of the highest.

    >>> [round(Linear(warmup=2).factor(step, 6), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """

    warmup: int = 0
    floor: float = 0.0

    def factor(self, step: int, steps: int) -> float:
        """See `Constant.factor`."""
        left = 1.0 - _share(step, self.warmup, steps)
        return _rise(step, self.warmup) * (self.floor + (1.0 - self.floor) * left)


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Warm-up, then half a period of the cosine (Loshchilov and Hutter 2017, equation 5).

    Args:
        warmup: steps.
        floor: where it ends, a share of the highest.
    """

    warmup: int = 0
    floor: float = 0.1

    def factor(self, step: int, steps: int) -> float:
        """See `Constant.factor`."""
        left = 0.5 + 0.5 * math.cos(math.pi * _share(step, self.warmup, steps))
        return _rise(step, self.warmup) * (self.floor + (1.0 - self.floor) * left)


@dataclass(frozen=True, kw_only=True)
class InverseSqrt:
    """Warm-up, then sqrt(warmup / step) (Vaswani et al. 2017, section 5.3, divided by its highest value).

    Args:
        warmup: steps.
    """

    warmup: int = 0

    def factor(self, step: int, steps: int) -> float:
        """See `Constant.factor`."""
        peak = max(1, self.warmup)
        return min((step + 1) / peak, math.sqrt(peak / (step + 1)))


@dataclass(frozen=True, kw_only=True)
class SlantedTriangular:
    """Steeply up and slowly down (Howard and Ruder 2018, equation 3).

    Args:
        cut_fraction: share of the steps that goes up.
        ratio: how many times the lowest rate is smaller than the highest.
    """

    cut_fraction: float = 0.1
    ratio: float = 32.0

    def factor(self, step: int, steps: int) -> float:
        """See `Constant.factor`."""
        cut = max(1, math.floor(steps * self.cut_fraction))
        height = step / cut if step < cut else 1.0 - (step - cut) / (cut * (1.0 / self.cut_fraction - 1.0))
        return (1.0 + max(0.0, height) * (self.ratio - 1.0)) / self.ratio


@dataclass(frozen=True, kw_only=True)
class WarmupStableDecay:
    """Warm-up, then 1, and at the end down by 1 - sqrt (Hu et al. 2024, section 4; Haegele et al. 2024, section 3.1).

    Args:
        warmup: steps.
        decay: steps of the descent.
        floor: where it ends, a share of the highest.
    """

    warmup: int = 0
    decay: int = 1
    floor: float = 0.0

    def factor(self, step: int, steps: int) -> float:
        """See `Constant.factor`."""
        left = 1.0 - math.sqrt(_share(step, steps - self.decay, steps))
        return _rise(step, self.warmup) * (self.floor + (1.0 - self.floor) * left)


Schedule = Constant | Linear | Cosine | InverseSqrt | SlantedTriangular | WarmupStableDecay
