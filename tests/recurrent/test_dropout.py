"""The five dropouts of AWD-LSTM: each does what its paper says, and none in evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch.nn import functional

from stemma.nn import RecurrentModel
from stemma.nn.recurrent_parts import WordVectors
from stemma.spec import Recurrent
from stemma.spec.recurrent_parts import (
    LSTM,
    ProjectedLSTM,
    RecurrentDropout,
    TiedScores,
    Words,
)

from .. import tolerances
from ..tiny import apart

Texts = Callable[..., Any]


def dropped(rows: int = 64, width: int = 10, words: int = 37, **rates: Any) -> tuple[RecurrentModel, RecurrentModel]:
    """An AWD-LSTM with these rates alone, in training and in evaluation, with the same parameters."""
    tied = (TiedScores(bias=False),)
    spec = Recurrent(tokens=Words(words, width), widths=(14, width), heads=tied, dropout=RecurrentDropout(**rates))
    training, evaluating = RecurrentModel(spec).train(), RecurrentModel(spec.change(dropout=RecurrentDropout())).eval()
    return training, evaluating


def kept_share(n: int, rate: float) -> float:
    """How far a share of n draws may lie from its probability: five deviations."""
    return 5 * (rate * (1 - rate) / n) ** 0.5


@pytest.mark.parametrize("name", [entry.name for entry in fields(RecurrentDropout) if entry.name != "locked"])
def test_each_rate_works_in_training_alone(name: str, texts: Texts) -> None:
    training, evaluating = dropped(**{name: 0.5})
    tokens = texts(evaluating.architecture)
    torch.manual_seed(0)
    first, second = (training(tokens).logits for _ in range(2))
    plain = evaluating(tokens).logits
    assert not torch.equal(first, second)
    assert not torch.equal(first, plain)
    assert torch.equal(training.eval()(tokens).logits, plain)


def test_embedding_dropout_leaves_out_whole_words() -> None:
    table = WordVectors(Words(4000, 6), 0.3).train()
    table.weight.data.fill_(1.0)
    tokens = torch.arange(4000).repeat(2, 1)
    torch.manual_seed(0)
    vectors = table(tokens)
    assert vectors.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (vectors == vectors[:, :, :1]).all(), "all of a word or nothing"
    assert torch.equal(vectors[0], vectors[1]), "a word is left out wherever it stands"
    assert abs((vectors[0, :, 0] == 0).float().mean() - 0.3) < kept_share(4000, 0.3)


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("name", ["input", "hidden", "output"])
def test_locked_dropout_has_one_mask_for_a_text(name: str, locked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    training, _ = dropped(**{name: 0.4}, locked=locked)
    seen: list[torch.Tensor] = []
    make = training._dropping

    def watch(rate: float) -> Any:
        if rate:
            seen.append(make(rate)(torch.ones(300, 5, 10)))
        return make(rate)

    monkeypatch.setattr(training, "_dropping", watch)
    torch.manual_seed(0)
    training(torch.zeros(2, 3, dtype=torch.long))
    (mask,) = seen
    assert mask.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert bool((mask == mask[:, :1]).all()) == locked
    assert not (mask == mask[:1]).all(), "each text has its own"
    n = mask[:, 0].numel() if locked else mask.numel()
    assert abs((mask == 0).float().mean() - 0.4) < kept_share(n, 0.4)


def test_output_dropout_is_on_what_is_scored_and_not_on_the_layers(texts: Texts) -> None:
    training, evaluating = dropped(output=0.5)
    tokens = texts(evaluating.architecture)
    output = training(tokens)
    assert apart(output.layers[-1], evaluating(tokens).layers[-1]) == 0
    zeros = output.hidden == 0
    assert zeros.any()
    assert (zeros == zeros[:, :1]).all()
    assert apart(output.hidden[~zeros], 2 * output.layers[-1][~zeros]) < tolerances.FP32


@pytest.mark.parametrize("cell", [LSTM(), ProjectedLSTM(10)])
def test_weight_dropout_drops_single_recurrent_weights(cell: Any, texts: Texts) -> None:
    """The first step, which has no output to weigh, is as without; all steps of a pass share one draw."""
    spec = Recurrent(tokens=Words(37, 10), widths=(400,), cell=cell, dropout=RecurrentDropout(weight=0.5))
    training, evaluating = RecurrentModel(spec).train(), RecurrentModel(spec).eval()
    tokens = texts(spec)
    first, plain = training(tokens).hidden, evaluating(tokens).hidden
    assert apart(first[:, 0], plain[:, 0]) < tolerances.FP32
    assert (first[:, 1:] != plain[:, 1:]).any(-1).all()
    repeated = training(tokens[:1].repeat(3, 1)).hidden
    assert apart(repeated[0], repeated[2]) < tolerances.FP32, "rows share the draw"


def test_weight_dropout_keeps_the_mean_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Recurrent(tokens=Words(37, 10), widths=(100,), dropout=RecurrentDropout(weight=0.5))
    model, seen = RecurrentModel(spec).train(), []
    drop = functional.dropout

    def watch(x: torch.Tensor, *args: Any) -> torch.Tensor:
        seen.append((x, drop(x, *args)))
        return seen[-1][1]

    monkeypatch.setattr(functional, "dropout", watch)
    torch.manual_seed(0)
    model(torch.zeros(2, 3, dtype=torch.long))
    ((weight, left),) = seen
    assert weight is model.layers[0][0].weight_hidden
    assert abs((left == 0).float().mean() - 0.5) < kept_share(weight.numel(), 0.5)
    assert torch.equal(left[left != 0], 2 * weight[left != 0])
