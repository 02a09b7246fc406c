"""What a run leaves behind: the model as a folder, its card, and every figure."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from stemma.training.baselines import Baseline
from stemma.training.card import card
from stemma.training.distributed import Team
from stemma.training.export import export
from stemma.training.files import write_whole
from stemma.training.folders import published, write_model
from stemma.training.learner import Learner
from stemma.training.loop import Outcome
from stemma.training.opening import RUN, Opened
from stemma.training.record import Record, counted_baselines, drawn, measure
from stemma.training.state import Progress

if TYPE_CHECKING:
    from stemma.training.run import Run

MODEL, RECORD = "model", "run.json"
"""What stands in a run's folder when it is over."""


class Models:
    """Writes the models of a run with their cards: one into each checkpoint, the best where the run ends.

    Args:
        run: itself.
        opened: what it was made of.
        learner: what learns.
        team: the processes, of which one writes.
    """

    def __init__(self, run: Run, opened: Opened, learner: Learner, team: Team) -> None:
        self.run, self.opened, self.learner, self.team = run, opened, learner, team

    def beside(self, partial: Path, progress: Progress) -> None:
        """Write the model of a checkpoint into its folder, which holds all but hashes."""
        record = self._record("not yet", progress, progress.step, self._counted)
        self._write(partial, record, partial / MODEL, verified=True)
        for path in (partial / MODEL).iterdir():
            path.rename(partial / path.name)
        (partial / MODEL).rmdir()

    def finish(self, outcome: Outcome) -> None:
        """Write the model that did best on held-out rows, or else the last, and the run's figures."""
        folder, taken = Path(self.run.folder), outcome.best or outcome.newest
        assert taken is not None, "a run ends with a checkpoint"
        baselines = self._counted
        if self.team.mesh is None:  # Else each process may hold but a part of what draws.
            baselines = baselines | drawn(self.run, self.opened, self.learner, self.team.device)
        step = int(taken.name.removeprefix("step-"))
        record = self._record(outcome.ended, outcome.progress, step, baselines)
        self._write(taken, record, folder / MODEL)
        # Last, so that whoever finds it finds the model too.
        write_whole(folder / RECORD, json.dumps(record.as_dict(), indent=2) + "\n")

    @cached_property
    def _counted(self) -> dict[str, Baseline]:
        return counted_baselines(self.run, self.opened, self.learner)

    def _record(self, ended: str, progress: Progress, step: int, counted: dict[str, Baseline]) -> Record:
        return measure(self.run, self.opened, self.learner.lessons, ended, progress, step, counted, self.team)

    def _write(self, checkpoint: Path, record: Record, folder: Path, verified: bool = False) -> None:
        begun = self.opened.stored
        of = published(begun.family, begun.architecture)
        stored = export(checkpoint, begun.family, of, facts=begun.facts, verified=verified)

        def beside(partial: Path) -> None:
            self.opened.tokenizer.save(partial)
            settings = (Path(self.run.folder) / RUN).read_text(encoding="utf-8")
            (partial / "README.md").write_text(card(self.run, record, settings), encoding="utf-8")

        write_model(stored, folder, beside)
