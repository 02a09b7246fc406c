"""How good a model is at what it is used for."""

from stemma.evaluation.clusters import kmeans
from stemma.evaluation.embeddings import Embed, clustering, retrieval, similarity, translation

__all__ = ["Embed", "clustering", "kmeans", "retrieval", "similarity", "translation"]
