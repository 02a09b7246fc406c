"""Sentence embeddings: networks that learn by what the vectors of texts are to one another."""

from stemma.objectives.tasks.embedding.contrastive import Contrastive
from stemma.objectives.tasks.embedding.cosine import CosineRegression
from stemma.objectives.tasks.embedding.cross_lingual import CrossLingual
from stemma.objectives.tasks.embedding.entailment import Entailment
from stemma.objectives.tasks.embedding.negatives import MultipleNegatives
from stemma.objectives.tasks.embedding.sentences import SentenceTask
from stemma.objectives.tasks.embedding.triplet import Triplet

__all__ = [
    "Contrastive",
    "CosineRegression",
    "CrossLingual",
    "Entailment",
    "MultipleNegatives",
    "SentenceTask",
    "Triplet",
]
