"""What a network is to tell of a text: values that say how records are asked, learnt from and judged."""

from stemma.objectives.tasks.catalogue import TASKS
from stemma.objectives.tasks.choice import Choice
from stemma.objectives.tasks.classification import Classification, Regression
from stemma.objectives.tasks.cloze import Cloze
from stemma.objectives.tasks.extraction import Extraction
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.tasks.spans import Span
from stemma.objectives.tasks.tagging import Tagged, Tagging
from stemma.objectives.tasks.task import Task
from stemma.objectives.tasks.text_to_label import TextToLabel
from stemma.objectives.tasks.text_to_text import TextToText

__all__ = [
    "TASKS",
    "Choice",
    "Classification",
    "Cloze",
    "Extraction",
    "Regression",
    "Scribe",
    "Span",
    "Tagged",
    "Tagging",
    "Task",
    "TextToLabel",
    "TextToText",
]
