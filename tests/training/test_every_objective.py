"""Every objective learns by the one loop, in parts as in a whole, and goes on where it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from stemma.objectives.catalogue import OBJECTIVES
from stemma.training import Learner, Saving, train

from .small import Kept, plan, usual

# A teacher is a model of real size.
NAMES = [name for name in OBJECTIVES if name != "distill"]


def run(one: Learner, folder: Path | None = None, **changes: object) -> dict[int, float]:
    kept = Kept()
    train(one, plan(**dict(steps=4, rows=4) | changes), folder=folder, trackers=[kept])
    return kept.figure()


@pytest.mark.parametrize("name", NAMES)
def test_parts_and_pauses_change_nothing(name: str, tmp_path: Path) -> None:
    whole = run(usual(name))
    assert list(whole) == [1, 2, 3, 4]
    first = run(usual(name), micro_batches=2)
    assert first[1] == pytest.approx(whole[1], abs=1e-5), "the loss of a step in two parts"
    begun = run(usual(name), tmp_path, steps=2, saving=Saving(every=1))
    resumed = run(usual(name), tmp_path)
    assert begun | resumed == whole
