"""Every task by its name."""

from __future__ import annotations

from collections.abc import Mapping

from stemma.objectives.tasks.choice import Choice
from stemma.objectives.tasks.classification import Classification, Regression
from stemma.objectives.tasks.cloze import Cloze
from stemma.objectives.tasks.embedding import (
    Contrastive,
    CosineRegression,
    CrossLingual,
    Entailment,
    MultipleNegatives,
    Triplet,
)
from stemma.objectives.tasks.extraction import Extraction
from stemma.objectives.tasks.tagging import Tagging
from stemma.objectives.tasks.task import Task
from stemma.objectives.tasks.text_to_label import TextToLabel
from stemma.objectives.tasks.text_to_text import TextToText

TASKS: Mapping[str, type[Task]] = {
    kind.name: kind
    for kind in (
        Classification,
        Regression,
        Tagging,
        Extraction,
        Choice,
        TextToText,
        TextToLabel,
        Cloze,
        Entailment,
        CosineRegression,
        Contrastive,
        MultipleNegatives,
        Triplet,
        CrossLingual,
    )
}
