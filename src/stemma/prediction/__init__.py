"""Records to answers: what a network that has learnt a task says, and how good it is."""

from stemma.prediction.predict import evaluate, predict, scribe_of
from stemma.prediction.task_file import TASK, Learnt, read_task, task_from, task_of, task_table, write_task
from stemma.prediction.verbs import Mention, Tells

__all__ = [
    "TASK",
    "Learnt",
    "Mention",
    "Tells",
    "evaluate",
    "predict",
    "read_task",
    "scribe_of",
    "task_from",
    "task_of",
    "task_table",
    "write_task",
]
