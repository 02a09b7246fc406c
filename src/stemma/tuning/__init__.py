"""Tuning runs: a checkpoint, a task, its records and the adaptations by which it learns them."""

from stemma.tuning.record import Forgetting, Result
from stemma.tuning.run import Adapt, sweep

__all__ = ["Adapt", "Forgetting", "Result", "sweep"]
