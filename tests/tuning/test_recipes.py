"""The recipes of tuning runs are runs that could begin; `prove_adaptations.py` carries them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from stemma.data import read
from stemma.training.run_file import read_as
from stemma.tuning import Adapt

from ..prove_adaptations import BARS

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes" / "adapt").glob("*.toml"))


def test_each_has_a_bar() -> None:
    assert [path.stem for path in RECIPES] == sorted(BARS)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_reads_records_that_stand_beside_the_repository(
    path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    run = read_as(Adapt, path)
    measure, _ = BARS[path.stem]
    assert measure in (run.task.measures, "f1")
    parts = [part for part in (run.learnt, run.tried, run.tested) if part is not None]
    assert len(parts) >= 2
    for part in parts:
        assert all(one.startswith("../shared/") for one in part.paths)
        assert len(read(part, run.task.roles())) > 90
    if run.task.labelled is not None:
        assert len(run.task.named(read(run.learnt, run.task.roles())).labels) >= 2


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("name", ["sst2", "wnut17", "stsb"])
def test_a_few_steps_of_a_recipe(name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    few = [
        "steps=4",
        "rows=8",
        "tried.first=8",
        'adaptations=[{kind="lora", rank=4}]',
        "old=false",
        "schedule.warmup=1",
    ]
    few += [] if name == "sst2" else ["tested.first=8"]
    # All tags occur, of which a few records have not all.
    few += [] if name == "wnut17" else ["learnt.first=64"]
    result = read_as(Adapt, ROOT / "recipes" / "adapt" / f"{name}.toml", few, folder=tmp_path).train()
    assert (result.ended, result.steps, result.adaptations) == ("steps", 4, ("lora",))
