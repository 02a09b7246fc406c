"""Training: one visible loop, and what it is made of."""

from stemma.errors import RunError
from stemma.training.baselines import Baseline
from stemma.training.checkpoint import Checkpoints, verify
from stemma.training.corpora import CorpusFiles
from stemma.training.distributed import Team, assemble
from stemma.training.export import export
from stemma.training.learner import Learner, Lesson
from stemma.training.loop import Outcome, begin, evaluate, train
from stemma.training.network import Network
from stemma.training.optimisers import AdamW, Muon, Optimiser
from stemma.training.plan import Evaluation, Guards, Policy, Precision, Saving, TrainPlan
from stemma.training.plots import plot
from stemma.training.progress import ProgressLine
from stemma.training.run import Run
from stemma.training.run_file import read_run
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
from stemma.training.vocabularies import NewTokenizer

__all__ = [
    "AdamW",
    "Baseline",
    "Board",
    "Checkpoints",
    "Constant",
    "CorpusFiles",
    "Cosine",
    "Evaluation",
    "Guards",
    "InverseSqrt",
    "JsonLines",
    "Learner",
    "Lesson",
    "Linear",
    "Muon",
    "Network",
    "NewTokenizer",
    "Optimiser",
    "Outcome",
    "Policy",
    "Precision",
    "Progress",
    "ProgressLine",
    "Run",
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
    "read_run",
    "train",
    "verify",
]
