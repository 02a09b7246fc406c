"""How good a model is at what it is used for."""

from stemma.evaluation.clusters import kmeans
from stemma.evaluation.embeddings import Embed, clustering, retrieval, similarity, translation
from stemma.evaluation.perplexity import perplexity, perplexity_of

__all__ = [
    "Embed",
    "clustering",
    "kmeans",
    "perplexity",
    "perplexity_of",
    "retrieval",
    "similarity",
    "translation",
]
