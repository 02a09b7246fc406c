"""What becomes of steps gone astray."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stemma.training import Guards, Policy, begin, train
from stemma.training.guards import Watch
from stemma.training.learner import Learner
from stemma.training.optimisers import learning

from .small import Kept, learner, plan


class Broken(Learner):
    """A learner whose loss is multiplied with something at one step."""

    def break_at(self, step: int, factor: float, parts: int = 1) -> Broken:
        self.factors = {step * parts + part: factor for part in range(parts)}
        self.calls = 0
        return self

    def forward(self, number: int, batch: Any) -> Any:
        factor = self.factors.get(self.calls, 1.0)
        self.calls += 1
        return {term: value * factor for term, value in super().forward(number, batch).items()}


def broken(step: int, factor: float) -> Broken:
    one = learner()
    return Broken(one.model, one.lessons).break_at(step, factor)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1e39], ids=str)
@pytest.mark.parametrize("policy", ["skip", "report", "stop"])
def test_what_is_no_number(factor: float, policy: Policy) -> None:
    kept, one = Kept(), broken(3, factor)
    outcome = train(one, plan(guards=Guards(broken=policy)), trackers=[kept])
    (step, event), *rest = kept.events
    assert step == 4
    assert "the loss is" in event
    finite = all(bool(parameter.isfinite().all()) for parameter in one.parameters())
    assert finite == (policy != "report")
    assert outcome.ended == ("stopped" if policy == "stop" else "steps")
    assert outcome.progress.step == (4 if policy == "stop" else 8)
    if policy == "skip":
        assert rest == [(8, "ended: steps")], "one event"
        assert all(value < 10 for at, value in kept.figure().items() if at != 4)


def test_a_skipped_step_moves_nothing() -> None:
    """The run is that of the same rows without that one."""
    one = broken(0, float("nan"))
    before = {name: value.clone() for name, value in one.named_parameters()}
    train(one, plan(steps=1), trackers=[])
    assert all(torch.equal(before[name], value) for name, value in one.named_parameters())


def test_a_gradient_alone_can_be_broken() -> None:
    one, kept = learner(), Kept()
    name, parameter = next(iter(learning(one).items()))
    parameter.register_hook(lambda gradient: gradient * float("nan"))
    train(one, plan(steps=1), trackers=[kept])
    assert kept.events[0] == (1, "the gradient is nan; the step is skipped"), name


def test_what_stays_broken_stops_the_run() -> None:
    one, kept = broken(0, 1.0), Kept()
    one.factors = dict.fromkeys(range(99), float("nan"))
    outcome = train(one, plan(steps=50, guards=Guards(most=5)), trackers=[kept])
    assert outcome.ended == "stopped"
    assert outcome.progress.step == 6
    assert len(kept.events) == 7


@pytest.mark.parametrize("policy", ["skip", "report", "stop"])
def test_a_leap(policy: Policy) -> None:
    kept = Kept()
    guards = Guards(spike=policy, patience=10, deviations=8.0)
    outcome = train(broken(15, 30.0), plan(steps=20, guards=guards), trackers=[kept])
    assert [step for step, event in kept.events if "leaps above" in event] == [16]
    assert outcome.ended == ("stopped" if policy == "stop" else "steps")


def test_the_running_mean_and_deviation() -> None:
    """Against their definition, and a loss just below and just above the bar."""
    guards, losses = Guards(memory=0.9, deviations=3.0, patience=2, spike="skip"), [3.0, 5.0, 4.0, 4.5]
    watch = Watch()
    for loss in losses:
        assert watch.judge(loss, 1.0, guards).event is None
    weights = torch.tensor([0.9**3, 0.9**2, 0.9, 1.0], dtype=torch.float64)
    weights = weights / weights.sum()
    values = torch.tensor(losses, dtype=torch.float64)
    mean = float(weights @ values)
    bar = mean + 3.0 * float(weights @ (values - mean) ** 2) ** 0.5
    assert watch.mean / watch.weight == pytest.approx(mean)
    assert not watch.judge(bar + 1e-6, 1.0, guards).taken
    assert watch.judge(bar - 1e-6, 1.0, guards).taken


def test_a_run_that_ends_well_has_no_events() -> None:
    kept = Kept()
    assert begin(learner(), plan()).progress.watch == Watch()
    train(learner(), plan(), trackers=[kept])
    assert kept.events == [(8, "ended: steps")]
    assert kept.closed
