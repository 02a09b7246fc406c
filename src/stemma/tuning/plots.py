"""What was learnt against what was forgotten, of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stemma.data.extras import need
from stemma.errors import Fault, InputError
from stemma.tuning.record import Result


def plot_forgetting(results: Sequence[Result], measure: str, path: Path) -> None:
    """Draw each run as a point: how much more old text costs it, and how good it is at the task.

    Args:
        results: of the runs.
        measure: the figure of the task.
        path: of the picture.

    Raises:
        InputError: no run has both figures, or matplotlib is not installed.
    """
    figures = need("matplotlib.figure", "plots", "to draw runs", "plot")
    points = [
        (one.forgetting.after - one.forgetting.before, next(iter(one.scores.values()))[measure], one)
        for one in results
        if one.forgetting is not None and one.scores
    ]
    if not points:
        rule = "has a score and a loss on old text"
        raise InputError("plot", Fault("runs", 0, rule, "name records to try the runs on, and a model with a head"))
    figure = figures.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for rise, score, one in points:
        axes.plot(rise, score, "o")
        axes.annotate("+".join(one.adaptations), (rise, score), textcoords="offset points", xytext=(4, 4))
    axes.set_xlabel("forgotten: rise of the old loss, in nats")
    axes.set_ylabel(f"learnt: {measure}")
    figure.savefig(path, format="png", dpi=150)
