"""Who is told how a run goes: files, boards and the terminal, none of which can stop it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from stemma.data.extras import need
from stemma.files import new_file

_LOG = logging.getLogger("stemma.training")


class Tracker(Protocol):
    """Where a run's figures go."""

    def begin(self, step: int, steps: int) -> None:
        """A run starts, or goes on.

        Args:
            step: steps that are over.
            steps: how many there will be.
        """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Figures after a step, by name."""

    def note(self, step: int, event: str) -> None:
        """Something out of the ordinary, in words."""

    def close(self) -> None:
        """The run is over."""


class Trackers:
    """Several as one. Whichever fails is told of once, to the others and the log, and then left out.

    Args:
        trackers: any number.
    """

    def __init__(self, trackers: Iterable[Tracker]) -> None:
        self._alive = list(trackers)

    def begin(self, step: int, steps: int) -> None:
        """See `Tracker`."""
        self._tell(step, lambda tracker: tracker.begin(step, steps))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._tell(step, lambda tracker: tracker.log(step, values))

    def note(self, step: int, event: str) -> None:
        """See `Tracker`."""
        self._tell(step, lambda tracker: tracker.note(step, event))

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tell(0, lambda tracker: tracker.close())
        self._alive = []

    def _tell(self, step: int, what: Callable[[Tracker], None]) -> None:
        for tracker in tuple(self._alive):
            try:
                what(tracker)
            except Exception as error:  # noqa: BLE001 - whatever a tracker dies of, the run goes on
                self._alive.remove(tracker)
                event = f"{type(tracker).__name__} failed and is left out: {type(error).__name__}: {error}"
                _LOG.warning(event)
                self.note(step, event)


class JsonLines:
    """One JSON object a line: {"step": 10, "loss": 3.2, ...} or {"step": 10, "event": "..."}.

    Args:
        path: of the file; what it tells of steps that a resumed run does again is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, step: int, steps: int) -> None:
        """Drop what comes after the step."""
        kept = [line for line in read_lines(self.path) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        with new_file(self.path) as stream:
            stream.write(text.encode())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """A line of figures."""
        self._write({"step": step, **values})

    def note(self, step: int, event: str) -> None:
        """A line of words."""
        self._write({"step": step, "event": event})

    def close(self) -> None:
        """Nothing: each line is on its way to the disk as soon as it is told."""

    def _write(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """What `JsonLines` wrote, without a last line that a killed run left unfinished."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            found.append(json.loads(line))
    return found


class Board:
    """TensorBoard or trackio, each of which draws curves of named figures.

    Args:
        log: takes figures by name and the number of their step.
        finish: is called at the end.
    """

    def __init__(self, log: Callable[[Mapping[str, float], int], object], finish: Callable[[], object]) -> None:
        self._log, self._finish = log, finish

    @classmethod
    def tensorboard(cls, folder: Path) -> Board:
        """Event files that `tensorboard --logdir` reads.

        Raises:
            InputError: tensorboard is not installed.
        """
        need("tensorboard", "tensorboard", "to write its event files", "trackers")
        writer: Any = import_module("torch.utils.tensorboard").SummaryWriter(str(folder))

        def log(values: Mapping[str, float], step: int) -> None:
            for name, value in values.items():
                writer.add_scalar(name.replace(".", "/", 1), value, step)

        return cls(log, writer.close)

    @classmethod
    def trackio(cls, project: str, name: str) -> Board:
        """A run of a local trackio project.

        Raises:
            InputError: trackio is not installed.
        """
        trackio = need("trackio", "trackio", "to draw on its board", "trackers")
        run = trackio.init(project=project, name=name)
        return cls(lambda values, step: run.log(dict(values), step=step), run.finish)

    def begin(self, step: int, steps: int) -> None:
        """Nothing: a board has no beginning."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Draw a point of each."""
        self._log(values, step)

    def note(self, step: int, event: str) -> None:
        """A point of a curve of events; the words stand in the other trackers."""
        self._log({"events": 1.0}, step)

    def close(self) -> None:
        """Let it write what it holds."""
        self._finish()
