"""Measures of what a model says against what is right: pure functions over sequences and arrays."""

from stemma.metrics.answers import exact_match, exact_match_of, normalise_answer, token_f1, token_f1_of
from stemma.metrics.classification import Scores, accuracy, matthews, precision_recall_f1
from stemma.metrics.clustering import adjusted_rand, purity, v_measure
from stemma.metrics.correlation import mean_squared_error, pearson, ranks, spearman
from stemma.metrics.entities import Entity, SpanScores, entities, span_f1
from stemma.metrics.generation import bleu, chrf
from stemma.metrics.resampling import (
    Comparison,
    Interval,
    MeanDeviation,
    bootstrap_interval,
    mean_deviation,
    paired_bootstrap,
)
from stemma.metrics.retrieval import Matching, average_precision, matching_accuracy, ndcg_at, recall_at, reciprocal_rank

__all__ = [
    "Comparison",
    "Entity",
    "Interval",
    "Matching",
    "MeanDeviation",
    "Scores",
    "SpanScores",
    "accuracy",
    "adjusted_rand",
    "average_precision",
    "bleu",
    "bootstrap_interval",
    "chrf",
    "entities",
    "exact_match",
    "exact_match_of",
    "matching_accuracy",
    "matthews",
    "mean_deviation",
    "mean_squared_error",
    "ndcg_at",
    "normalise_answer",
    "paired_bootstrap",
    "pearson",
    "precision_recall_f1",
    "purity",
    "ranks",
    "recall_at",
    "reciprocal_rank",
    "span_f1",
    "spearman",
    "token_f1",
    "token_f1_of",
    "v_measure",
]
