"""Gradual unfreezing in a run: who waits stays as it was bit for bit, and who learns does so at its own rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from stemma.adaptation import GradualUnfreezing
from stemma.training import AdamW, Learner, SlantedTriangular
from stemma.tuning.opening import open_adapt

from ..training.small import Kept
from .tiny_adapt import tiny_adapt

UNFREEZING = GradualUnfreezing(decay=2.0, until=0.6)


def test_parameters_stay_bit_for_bit_until_their_share_of_the_run(tmp_path: Path) -> None:
    from stemma.tuning import course

    run = tiny_adapt(tmp_path, adaptations=(UNFREEZING,), steps=10, schedule=SlantedTriangular(), tried=None)
    moved: dict[str, int] = {}
    learners: list[Learner] = []

    class Watches(Kept):
        """Notes at which step each parameter has moved first."""

        def begin(self, step: int, steps: int) -> None:
            (learner,) = learners
            self.first = {name: one.detach().clone() for name, one in learner.model.named_parameters()}

        def log(self, step: int, values: Any) -> None:
            for name, one in learners[0].model.named_parameters():
                if name not in moved and not torch.equal(one, self.first[name]):
                    moved[name] = step

    class Seen(Learner):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            learners.append(self)

    original, course.Learner = course.Learner, Seen  # type: ignore[misc]
    try:
        run.train([Watches()])
    finally:
        course.Learner = original  # type: ignore[misc]
    assert moved
    opened = open_adapt(run)
    begins = {name: opened.paces[name].begins for name in moved}
    assert len(set(begins.values())) == 4, "heads, two blocks, embeddings"
    # A step k is taken when k - 1 of 10 are over; at the first the slanted schedule's rate may be none.
    for name, step in moved.items():
        assert (step - 1) / 10 >= begins[name], name
        assert step <= 10 * begins[name] + 3, name


def test_each_part_has_its_rate_in_the_optimiser(tmp_path: Path) -> None:
    opened = open_adapt(tiny_adapt(tmp_path, adaptations=(UNFREEZING,)))
    learner = Learner(opened.reader, opened.lessons, 0, opened.paces)
    (optimiser,) = AdamW(lr=1.0, weight_decay=0.1).build(learner)
    named = {id(parameter): name for name, parameter in opened.stored.model.named_parameters()}
    rates = {named[id(one)]: group["lr"] for group in optimiser.param_groups for one in group["params"]}
    assert rates == {name: pace.rate for name, pace in opened.paces.items()}
    assert sorted(set(rates.values())) == [0.125, 0.25, 0.5, 1.0]
    assert rates["heads.classifier.score.weight"] == 1.0
    assert rates["embeddings.token.weight"] == 0.125
