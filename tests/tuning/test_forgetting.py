"""What was forgotten is told of every run, and old text that is mixed in makes it less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stemma.adaptation import LoRA
from stemma.objectives import CausalLM
from stemma.training import AdamW, Constant, Network, Run, read_lines
from stemma.tuning import Result, sweep
from stemma.tuning.plots import plot_forgetting
from stemma.tuning.tables import row

from .tiny_adapt import SMALL, old, tiny_adapt, vocabulary


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint that has learnt some of the old text."""
    folder = tmp_path_factory.mktemp("knowing")
    vocabulary("gpt2").save(folder / "vocabulary")
    Run(
        model=Network("gpt2", None, SMALL),
        objectives=[CausalLM()],
        corpus=old(),
        tokenizer=str(folder / "vocabulary"),
        steps=60,
        rows=8,
        length=32,
        optimiser=AdamW(lr=1e-2),
        schedule=Constant(),
        evaluation=None,
        held_out=None,
        folder=folder / "run",
    ).train()
    return str(folder / "run" / "model")


def rise(result: Result) -> float:
    assert result.forgetting is not None
    return result.forgetting.after - result.forgetting.before


@pytest.mark.slow
def test_old_text_that_is_mixed_in_makes_it_less(knowing: str, tmp_path: Path) -> None:
    run = tiny_adapt(tmp_path / "alone", knowing, epochs=5, tried=None)
    alone = run.train()
    mixed = replace(run, replay=0.5, folder=tmp_path / "mixed").train()
    assert alone.forgetting is not None
    assert alone.forgetting.objective == "causal"
    assert mixed.forgetting is not None
    assert mixed.forgetting.before == alone.forgetting.before
    assert rise(alone) > 0.05
    assert rise(mixed) < 0.5 * rise(alone)
    told = [line for line in read_lines(tmp_path / "mixed" / "run.jsonl") if "loss" in line]
    assert all({"loss.causal.next", "loss.classification.class"} <= line.keys() for line in told)


def test_old_rows_are_the_share_that_was_asked_for(tmp_path: Path) -> None:
    from stemma.tuning.opening import open_adapt

    task, replayed = open_adapt(tiny_adapt(tmp_path, "gpt2", replay=0.25)).lessons
    assert replayed.share == 0.25
    assert replayed.asks.weight("next") == 0.25
    assert task.share == 1.0
    asked = [len(replayed.batch(range(8 * step, 8 * step + 8)).inputs["tokens"]) for step in range(4)]
    assert asked == [2] * 4


@pytest.mark.slow
def test_seeds_side_by_side(tmp_path: Path) -> None:
    run = tiny_adapt(tmp_path, "gpt2", adaptations=(LoRA(rank=2),), epochs=1)
    results = sweep(run, (0, 1, 2))
    assert [result.folder for result in results] == [str(tmp_path / f"seed-{seed}") for seed in (0, 1, 2)]
    values = [result.scores["tried"]["accuracy"] for result in results]
    assert len({result.scores["tried"]["accuracy"] for result in results} | {rise(one) for one in results}) > 3
    summed = row("seeds", results, "accuracy", "tried")
    assert summed["mean"] == pytest.approx(sum(values) / 3)
    low, high = summed["interval"]
    assert low <= summed["mean"] <= high
    assert summed["deviation"] == pytest.approx((sum((v - summed["mean"]) ** 2 for v in values) / 2) ** 0.5)
    assert summed["forgotten"] == pytest.approx(sum(map(rise, results)) / 3)
    assert summed["values"] == {str(seed): value for seed, value in enumerate(values)}
    stamps = [(Path(one.folder) / "run.json").stat().st_mtime_ns for one in results]
    assert [one.scores for one in sweep(run, (0, 1, 2))] == [one.scores for one in results]
    assert len(stamps) == 3
    plot_forgetting(results, "accuracy", tmp_path / "runs.png")
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_measured_where_no_old_text_is_named(tmp_path: Path) -> None:
    result = tiny_adapt(tmp_path, old=None, steps=1).train()
    assert result.forgetting is None
