"""What is judged only once it is drawn has a baseline, too: how often it was drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stemma.training.baselines import drawn_baselines

from .small import usual


def test_the_baseline_of_a_judge_who_knows_how_often_tokens_are_replaced() -> None:
    learner = usual("rtd")
    (lesson,), companions = learner.lessons, learner.companions[0]
    batches = [lesson.batch(range(start, start + 8)) for start in (0, 8)]
    found = drawn_baselines(lesson.asks, companions, batches)["replaced"]
    drawn = [lesson.asks.seen(companions, batch) for batch in batches]
    wrong = torch.cat([seen.asked["replaced"].ids for seen in drawn]).numpy()
    changed = sum(
        int((seen.inputs["tokens"] != lesson.batch(range(start, start + 8)).inputs["tokens"]).sum())
        for start, seen in zip((0, 8), drawn, strict=True)
    )
    rate = wrong.mean()
    assert 0 < wrong.sum() <= changed < len(wrong) == found.targets
    assert found.unigram == pytest.approx(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate), abs=1e-2)


def test_what_is_drawn_by_nobody_has_none() -> None:
    learner = usual("mlm")
    (lesson,) = learner.lessons
    batch = lesson.batch(range(4))
    assert lesson.asks.seen(learner.companions[0], batch) is batch
    assert drawn_baselines(lesson.asks, learner.companions[0], [batch]) == {}
