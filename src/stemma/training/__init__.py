"""Training: one visible loop, and what it is made of."""

from stemma.training.checkpoint import Checkpoints, verify
from stemma.training.distributed import RunError, Team, assemble
from stemma.training.export import export
from stemma.training.learner import Learner, Lesson
from stemma.training.loop import Outcome, begin, evaluate, train
from stemma.training.optimisers import AdamW, Muon, Optimiser
from stemma.training.plan import Evaluation, Guards, Policy, Precision, Saving, TrainPlan
from stemma.training.plots import plot
from stemma.training.progress import ProgressLine
from stemma.training.schedules import (
    Constant,
    Cosine,
    InverseSqrt,
    Linear,
    Schedule,
    SlantedTriangular,
    WarmupStableDecay,
)
from stemma.training.state import Progress, State
from stemma.training.trackers import Board, JsonLines, Tracker, Trackers, read_lines

__all__ = [
    "AdamW",
    "Board",
    "Checkpoints",
    "Constant",
    "Cosine",
    "Evaluation",
    "Guards",
    "InverseSqrt",
    "JsonLines",
    "Learner",
    "Lesson",
    "Linear",
    "Muon",
    "Optimiser",
    "Outcome",
    "Policy",
    "Precision",
    "Progress",
    "ProgressLine",
    "RunError",
    "Saving",
    "Schedule",
    "SlantedTriangular",
    "State",
    "Team",
    "Tracker",
    "Trackers",
    "TrainPlan",
    "WarmupStableDecay",
    "assemble",
    "begin",
    "evaluate",
    "export",
    "plot",
    "read_lines",
    "train",
    "verify",
]
