"""Tuning runs side by side, and what several seeds of one have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from stemma.metrics import bootstrap_interval, mean_deviation
from stemma.tuning.record import Result


def over_seeds(results: Sequence[Result], measure: str, part: str) -> dict[str, Any]:
    """One figure over the seeds of a run.

    Args:
        results: of each seed, at least one.
        measure: name of the figure.
        part: of the records on which it was taken: "tried" or "tested".

    Returns:
        Mean, standard deviation (None of one seed), the bootstrap interval of the mean, and the values by seed.
    """
    values = [result.scores[part][measure] for result in results]
    found, interval = mean_deviation(values), bootstrap_interval(values)
    return {
        "measure": f"{part}.{measure}",
        "mean": found.mean,
        "deviation": None if math.isnan(found.deviation) else found.deviation,
        "interval": [interval.low, interval.high],
        "values": {str(result.seed): value for result, value in zip(results, values, strict=True)},
    }


def forgotten(results: Sequence[Result]) -> float | None:
    """By how much the loss on old text rose, in nats, in the mean of several seeds."""
    rises = [result.forgetting.after - result.forgetting.before for result in results if result.forgetting is not None]
    return sum(rises) / len(rises) if rises else None


def row(name: str, results: Sequence[Result], measure: str, part: str) -> dict[str, Any]:
    """A run, or several seeds of it, as one row of a table.

    Args:
        name: of the row.
        results: of each seed.
        measure: see `over_seeds`.
        part: see `over_seeds`.
    """
    first = results[0]
    return {
        "name": name,
        "model": first.model,
        "task": first.task,
        "adaptations": list(first.adaptations),
        "trained": first.trained,
        "total": first.total,
        "share": first.trained / first.total,
        **over_seeds(results, measure, part),
        "forgotten": forgotten(results),
        "seconds": sum(result.seconds for result in results) / len(results),
        "tokens_per_second": sum(r.tokens for r in results) / max(1e-9, sum(r.seconds for r in results)),
        "memory": max(result.memory for result in results),
    }
