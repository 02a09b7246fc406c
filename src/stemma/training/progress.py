"""A run on the terminal: one line that moves, and a line for each event."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

# What the line shows of the figures: each by its name, and how.
_SHOWN: Mapping[str, Callable[[float], str]] = {
    "loss": lambda value: f"loss {value:.3f}",
    "held_out.loss": lambda value: f"held out {value:.3f}",
    "tokens_per_second": lambda value: f"{value:,.0f} tokens/s",
    "utilisation": lambda value: f"{value:.0%} of peak",
    "memory": lambda value: f"{value / 2**30:.1f} GiB",
    "seconds_left": lambda value: f"{clock(value)} left",
}


def clock(seconds: float) -> str:
    """A stretch of time as hours, minutes and seconds.

    >>> clock(3725.4), clock(59)
    ('1:02:05', '0:00:59')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class ProgressLine:
    """A `Tracker` that draws on a terminal.

    Args:
        console: where; the standard error if not given.
    """

    def __init__(self, console: Console | None = None) -> None:
        columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._line = Progress(*columns, console=console or Console(stderr=True))
        self._known: dict[str, float] = {}
        self._task = self._line.add_task("", total=None)

    def begin(self, step: int, steps: int) -> None:
        """Show the line."""
        self._line.update(self._task, completed=step, total=steps)
        self._line.start()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Move on to a step, with its figures."""
        self._known |= values
        shown = (show(self._known[name]) for name, show in _SHOWN.items() if name in self._known)
        self._line.update(self._task, completed=step, description="  ".join(shown))

    def note(self, step: int, event: str) -> None:
        """A line of its own, above."""
        self._line.console.print(f"step {step}: {event}", markup=False, highlight=False)

    def close(self) -> None:
        """Leave the line as it is."""
        self._line.stop()
