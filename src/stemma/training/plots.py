"""The curves of one run or of several, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stemma.data.extras import need
from stemma.errors import Fault, InputError
from stemma.training.trackers import read_lines

# Beside the losses, which come first.
_RATES = ("rate", "norm", "tokens_per_second")


def plot(runs: Mapping[str, Path], picture: Path) -> None:
    """Draw every loss of some runs, and their learning rate, gradient norm and speed, each in a panel of its own.

    Args:
        runs: for each name the file that `JsonLines` wrote.
        picture: the PNG file to write.

    Raises:
        InputError: matplotlib is not installed, or a file tells of no step.
    """
    figures = need("matplotlib.figure", "plots", "to draw curves", "plot")
    curves = {name: _curves(path) for name, path in runs.items()}
    named = dict.fromkeys(curve.removeprefix("held_out.") for held in curves.values() for curve in held)
    panels = [name for name in named if name.startswith("loss")] + [name for name in _RATES if name in named]
    # Without pyplot: no window, no state that outlives the call.
    figure = figures.Figure(figsize=(7, 2.6 * len(panels)), layout="constrained")
    for panel, axes in zip(panels, figure.subplots(len(panels), 1, squeeze=False)[:, 0], strict=True):
        for number, (run, held) in enumerate(curves.items()):
            for name, style in ((panel, "-"), (f"held_out.{panel}", "o--")):
                if name in held:
                    label = run if name == panel else f"{run}, held out"
                    axes.plot(*held[name], style, label=label, color=f"C{number}", markersize=3, linewidth=1)
        axes.set_title(panel, fontsize="medium", loc="left")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    figure.axes[-1].set_xlabel("step")
    figure.savefig(picture, format="png", dpi=120)


def _curves(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """For each figure its steps and values."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for line in read_lines(path):
        for name, value in line.items():
            if name not in ("step", "event"):
                steps, values = found.setdefault(name, ([], []))
                steps.append(line["step"])
                values.append(value)
    if not found:
        raise InputError("plots", Fault("run", str(path), "tells of no step", "name the file of a run that has begun"))
    return found
