"""What a network learns by: values that work on every family which has what they need."""

from stemma.objectives.causal import CausalLM
from stemma.objectives.example import Asked, Batch, Example, Targets, collate
from stemma.objectives.objective import AUXILIARY, Objective, Setting, counts
from stemma.objectives.passes import Pass, passes
from stemma.objectives.vocabulary import Vocabulary

__all__ = [
    "AUXILIARY",
    "Asked",
    "Batch",
    "CausalLM",
    "Example",
    "Objective",
    "Pass",
    "Setting",
    "Targets",
    "Vocabulary",
    "collate",
    "counts",
    "passes",
]
