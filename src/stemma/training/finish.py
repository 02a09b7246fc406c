"""What a run leaves behind: the model as a folder, its card, and every figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from stemma.training.card import card
from stemma.training.distributed import Team
from stemma.training.export import export
from stemma.training.files import write_whole
from stemma.training.folders import published, write_model
from stemma.training.learner import Learner
from stemma.training.loop import Outcome
from stemma.training.opening import RUN, Opened
from stemma.training.record import measure

if TYPE_CHECKING:
    from stemma.training.run import Run

MODEL, RECORD = "model", "run.json"
"""What stands in a run's folder when it is over."""


def finish(run: Run, opened: Opened, learner: Learner, outcome: Outcome, team: Team) -> None:
    """Write the model that did best on held-out rows, or else the last, with its card and the run's figures.

    Args:
        run: itself.
        opened: what it was made of.
        learner: what learnt.
        outcome: how it ended, with a checkpoint.
        team: the processes, of which this one leads.
    """
    folder, taken = Path(run.folder), outcome.best or outcome.newest
    assert taken is not None, "a run ends with a checkpoint"
    record = measure(run, opened, learner, outcome, taken, team)
    of = opened.stored.family
    stored = export(taken, of, published(of, opened.stored.architecture), facts=opened.stored.facts)

    def beside(partial: Path) -> None:
        opened.tokenizer.save(partial)
        settings = (folder / RUN).read_text(encoding="utf-8")
        (partial / "README.md").write_text(card(run, record, settings), encoding="utf-8")

    write_model(stored, folder / MODEL, beside)
    # Last, so that whoever finds it finds the model too.
    write_whole(folder / RECORD, json.dumps(record.as_dict(), indent=2) + "\n")
