"""Speed and cost, by their definitions."""

from __future__ import annotations

import pytest
import torch

from stemma.spec import LanguageModelHead
from stemma.spec.costs import training_flops
from stemma.training import Progress, Team
from stemma.training.meters import Meter, batch_flops, peak_flops, peak_memory

from .small import learner, lessons, spec


def test_operations_are_those_of_real_tokens_and_asked_targets() -> None:
    """Of full rows, all of whose tokens are asked about, they are those of the spec's own count."""
    of = spec()
    batch = lessons(of)[0].batch([0, 1])
    length = batch.inputs["tokens"].shape[1]
    body = training_flops(of.change(heads=()), length)
    table = 6 * of.vocab_size * of.d_model
    asked = len(batch.asked["next"])
    assert batch.n_tokens < 2 * length
    assert batch_flops(of, batch) == pytest.approx(body * batch.n_tokens / length + table * asked)
    assert of.head(LanguageModelHead) is not None
    assert training_flops(of, length) == body + table * length


def test_a_recurrent_network_is_not_counted() -> None:
    from stemma.families import ULMFIT

    assert batch_flops(ULMFIT.build(), lessons(spec())[0].batch([0])) is None


def test_a_reading_starts_anew() -> None:
    one, progress = learner(), Progress()
    meter = Meter(one.spec, Team(), "float32", progress)
    batches = (tuple(lesson.batch(range(2)) for lesson in one.lessons),)
    meter.step(batches, 100.0, 0.25)
    meter.step(batches, 100.0, 0.5)
    spent = progress.seconds
    first = meter.read(10)
    assert first["tokens_per_second"] == pytest.approx(200 / spent)
    assert first["seconds_left"] == pytest.approx(10 * spent / 2)
    assert first["waited"] == pytest.approx(0.5 / spent)
    flops = sum(batch_flops(one.spec, batch) or 0.0 for batch in batches[0])
    peak = peak_flops(torch.device("cpu"), "float32")
    assert first["utilisation"] == pytest.approx(2 * flops / spent / peak)
    meter.skip()
    assert progress.seconds == spent
    assert meter.read(10) == {}
    assert peak_memory(torch.device("cpu")) > 1 << 26
