"""A step in parts is the step as a whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stemma.training import Learner, Team, TrainPlan, begin
from stemma.training.distributed import gradient_norm
from stemma.training.loop import accumulate, means, prepare
from stemma.training.optimisers import learning

from .small import learner, plan

TEAM = Team()


def gradients(one: Learner, of: TrainPlan) -> tuple[dict[str, float], dict[str, torch.Tensor], float]:
    begin(one, of)
    step = prepare(one.lessons, of, TEAM, 0)
    sums = accumulate(one, step, step.counts, of, TEAM)
    found = {name: value.grad.clone() for name, value in learning(one).items() if value.grad is not None}
    return means(one, sums, step.counts), found, gradient_norm(learning(one).values())


@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize("changes", [{}, {"recompute": True}], ids=["plain", "recomputing"])
def test_parts_add_up_exactly(parts: int, changes: dict[str, Any]) -> None:
    """Rows of unequal length: losses within 1e-6, gradients within 1e-5."""
    losses, expected, norm = gradients(learner(), plan())
    lengths = {learner().lessons[0].batch([number]).n_tokens for number in range(8)}
    assert len(lengths) > 3, "rows of unequal length"
    found, got, found_norm = gradients(learner(), plan(micro_batches=parts, **changes))
    assert found == pytest.approx(losses, abs=1e-6)
    assert got.keys() == expected.keys()
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=0, msg=name)
    assert found_norm == pytest.approx(norm, abs=1e-5)


def test_the_loss_is_the_mean_over_targets() -> None:
    """Against torch's own cross-entropy over the whole step."""
    one = learner()
    losses, _, _ = gradients(one, plan(micro_batches=4))
    step = prepare(one.lessons, plan(), TEAM, 0)
    batch = step.parts[0][0]
    logits = one.model(**batch.inputs).logits
    asked = batch.asked["next"]
    expected = torch.nn.functional.cross_entropy(logits.detach()[asked.rows, asked.places], asked.ids)
    assert losses["loss"] == losses["loss.next"] == pytest.approx(float(expected), abs=1e-6)


def test_reduced_precision_is_near() -> None:
    exact, _, _ = gradients(learner(), plan())
    near, got, _ = gradients(learner(), plan(precision="bfloat16"))
    assert near["loss"] != exact["loss"]
    assert near["loss"] == pytest.approx(exact["loss"], rel=2e-2)
    assert {value.dtype for value in got.values()} == {torch.float32}


def test_dropout_is_that_of_the_step_and_the_part() -> None:
    """Equal seeds give equal losses, other seeds and steps others."""
    of = plan()
    first, _, _ = gradients(learner(0.3), of)
    again, _, _ = gradients(learner(0.3), of)
    other, _, _ = gradients(learner(0.3), plan(seed=1))
    assert first == again != other
