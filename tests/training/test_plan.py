"""Settings are checked as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from stemma.errors import InputError
from stemma.training import AdamW, Cosine, Evaluation, Guards, Muon, Saving, TrainPlan, WarmupStableDecay


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        TrainPlan(
            steps=0,
            rows=6,
            micro_batches=4,
            optimiser=Muon(lr=-1.0, rest=AdamW(betas=(0.9, 1.5))),
            schedule=Cosine(warmup=5, floor=2.0),
            clip=0.0,
            precision="float16",  # type: ignore[arg-type]
            average=1.0,
            guards=Guards(spike="panic", patience=-1),  # type: ignore[arg-type]
            evaluation=Evaluation(every=True, patience=0),
            saving=Saving(last=0),
            seed="0",  # type: ignore[arg-type]
        )
    told = [fault.field for fault in caught.value.faults]
    assert told == [
        "steps",
        "optimiser.lr",
        "optimiser.rest.betas",
        "schedule.floor",
        "clip",
        "precision",
        "average",
        "guards.spike",
        "guards.patience",
        "evaluation.every",
        "evaluation.patience",
        "saving.last",
        "seed",
        "rows",
        "schedule",
    ]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (dict(rows=0), "rows"),
        (dict(micro_batches=0), "micro_batches"),
        (dict(optimiser="adam"), "optimiser"),
        (dict(schedule=None), "schedule"),
        (dict(steps=10, schedule=WarmupStableDecay(warmup=6, decay=5)), "schedule"),
        (dict(clip=float("nan")), "clip"),
    ],
)
def test_each_by_itself(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        TrainPlan(**dict(steps=10, rows=4) | changes)
    assert [fault.field for fault in caught.value.faults] == [field]


@pytest.mark.parametrize(("micro_batches", "world"), [(1, 1), (2, 1), (1, 4), (3, 2)])
def test_processes_share_a_steps_rows(micro_batches: int, world: int) -> None:
    plan = TrainPlan(steps=3, rows=12, micro_batches=micro_batches)
    for step in range(3):
        read = [row for rank in range(world) for part in plan.slices(step, rank, world) for row in part]
        assert read == list(range(12 * step, 12 * step + 12))
