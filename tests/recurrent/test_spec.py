"""Recurrent architectures as data: what is checked, what is counted, what differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from stemma.errors import SpecError
from stemma.families import BERT, COVE, ELMO, ULMFIT
from stemma.nn import Model, RecurrentModel, build
from stemma.spec import Change, Family, Recurrent, count, diff
from stemma.spec.recurrent import forward_flops, parameter_table, state_numbers
from stemma.spec.recurrent_parts import (
    LSTM,
    Apart,
    Characters,
    ProjectedLSTM,
    RecurrentDropout,
    ScalarMix,
    Scores,
    TiedScores,
    Vectors,
    Words,
)

from ..tiny import VOCAB, each_recurrent, tiny, tiny_recurrent

WORDS = Recurrent(tokens=Words(11, 6), widths=(8, 6), heads=(TiedScores(),))


@each_recurrent
def test_every_size_has_the_parameters_that_are_counted(family: Family) -> None:
    for size in family.sizes:
        spec = family.build(size)
        counted = dict.fromkeys(parameter_table(spec), 0)
        for name, parameter in RecurrentModel(spec, seed=None, device="meta").named_parameters():
            counted[name.split(".")[0]] += parameter.numel()
        assert counted == dict(count.parameter_table(spec))
        assert count.parameters(spec) == sum(counted.values())


@pytest.mark.parametrize(
    ("spec", "published"),
    [
        (ELMO.build("small"), 13.6e6),
        (ELMO.build("medium"), 28.0e6),
        (ELMO.build("original"), 93.6e6),
        (ULMFIT.build(tokens=Words(10_000, 400), widths=(1150, 1150, 400)), 24e6),
        # 33M in the paper; exactly 33,556,078.
        (ULMFIT.build(tokens=Words(33_278, 400), widths=(1150, 1150, 400)), 33.5e6),
    ],
)
def test_published_counts(spec: Recurrent, published: float) -> None:
    assert count.parameters(spec) == pytest.approx(published, rel=0.01)


def test_cove_is_torch_s_own_lstm() -> None:
    theirs = torch.nn.LSTM(300, 300, num_layers=2, bidirectional=True, device="meta")
    assert count.parameters(COVE.build()) == sum(parameter.numel() for parameter in theirs.parameters()) == 3_609_600


@each_recurrent
def test_a_pass_costs_what_is_counted(family: Family, texts: Callable[..., Any]) -> None:
    """In double precision, whose products are visible ones; no two words are equal, which would be made once."""
    spec = tiny_recurrent(family)
    model, counter = RecurrentModel(spec, dtype=torch.float64).eval(), FlopCounterMode(display=False)
    tokens = texts(spec, 2, 5, dtype=torch.float64)
    with torch.no_grad(), counter:
        model(tokens)
    assert counter.get_total_flops() == 2 * forward_flops(spec, 5)


@each_recurrent
def test_a_state_holds_what_is_counted(family: Family, texts: Callable[..., Any]) -> None:
    spec = tiny_recurrent(family)
    state = RecurrentModel(spec).eval()(texts(spec, 1)).state
    assert state_numbers(spec) == sum(part.numel() for layer in state for pair in layer for part in pair)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        (dict(widths=()), "widths", "sizes of at least 1"),
        (dict(widths=(8, 0)), "widths", "sizes of at least 1"),
        (dict(widths=8), "widths", "tuple of a whole number"),
        (dict(tokens=Words(0, 6)), "tokens.vocab_size", "at least 1"),
        (dict(cell=ProjectedLSTM(6, cell_clip=0.0)), "cell.cell_clip", "positive"),
        (dict(cell=ProjectedLSTM(6, projection_clip=-1.0)), "cell.projection_clip", "positive"),
        (dict(heads=(TiedScores(), Scores(5))), "heads", "one of a name"),
        (dict(heads=(TiedScores(),), widths=(8, 7)), "heads", "as wide as the words"),
        (dict(heads=(TiedScores(),), tokens=Vectors(6)), "heads", "table of words"),
        (dict(heads=(ScalarMix(),)), "heads", "layers of one width"),
        (dict(heads=(), directions=Apart(skip=True)), "directions.skip", "layers of one width"),
        (dict(dropout=RecurrentDropout(weight=1.0)), "dropout.weight", "[0, 1)"),
        (dict(heads=(), tokens=Vectors(6), dropout=RecurrentDropout(embedding=0.1)), "dropout.embedding", "words"),
        (dict(heads=(), tokens=Characters(6, ())), "tokens.filters", "must be pairs"),
        (dict(heads=(), tokens=Characters(6, ((1, 2, 3),))), "tokens.filters", "must be pairs"),
        (dict(heads=(), tokens=Characters(6, ((9, 2),), max_characters=8)), "tokens.filters", "max_characters"),
        (dict(heads=(), tokens=Characters(6, ((1, 2),), activation="silu")), "tokens.activation", "'relu' or 'tanh'"),
    ],
)
def test_a_broken_rule_is_named(changes: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        WORDS.change(**changes)
    (fault,) = caught.value.faults
    assert (fault.field, words in fault.rule) == (field, True), fault


def test_a_head_that_would_see_its_answer_is_refused() -> None:
    with pytest.raises(SpecError, match="would see the word that they are to tell"):
        COVE.build(widths=(6,), tokens=Words(9, 12), heads=(Scores(9),))


def test_all_faults_come_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        WORDS.change(cell=ProjectedLSTM(5, cell_clip=-1.0), dropout=RecurrentDropout(input=2.0, output=-0.1))
    assert [fault.field for fault in caught.value.faults] == [
        *("cell.cell_clip", "heads", "dropout.input", "dropout.output")
    ]


def test_what_is_missing_or_no_field_is_named_with_the_family() -> None:
    with pytest.raises(SpecError) as caught:
        ELMO.build(n_heads=3)
    assert [fault.field for fault in caught.value.faults] == ["n_heads", "widths"]
    assert "elmo: 2 faults" in str(caught.value)
    with pytest.raises(SpecError, match="stacks=1 is no field"):
        COVE.derive("wrong", stacks=1)


def test_families_of_different_shapes_are_compared() -> None:
    changes = {change.path: change for change in diff(ELMO, BERT)}
    assert changes["kind"] == Change("kind", "recurrent", "encoder-only")
    assert changes["cell"] == Change("cell", "ProjectedLSTM", None)
    assert changes["stacks"] == Change("stacks", None, "Encoder")
    assert diff(ELMO, ELMO) == ()


def test_elmo_differs_from_cove_by_what_its_paper_says() -> None:
    changes = {change.path: change for change in diff(COVE, ELMO)}
    assert changes["cell"] == Change("cell", "LSTM", "ProjectedLSTM")
    assert changes["directions"] == Change("directions", "Joined", "Apart")
    assert changes["tokens"] == Change("tokens", "Vectors", "Characters")
    assert "dropout.locked" not in changes


def test_widths_follow_from_the_parts() -> None:
    spec = ELMO.build()
    assert (spec.n_layers, spec.n_directions, spec.outputs, spec.inputs) == (2, 2, (512, 512), (512, 512))
    assert spec.layer_widths == (1024, 1024, 1024)
    assert COVE.build().layer_widths == (300, 600, 600)
    assert COVE.build().inputs == (300, 600)
    assert ULMFIT.build().layer_widths == (400, 1150, 1150, 400)
    assert [family.build().vocab_size for family in (COVE, ELMO, ULMFIT)] == [0, 0, 60_000]
    assert ULMFIT.build().cell == LSTM()


def test_any_architecture_is_built_by_its_class() -> None:
    assert type(build(tiny(BERT), device="meta")) is Model
    assert type(build(tiny_recurrent(ELMO), device="meta")) is RecurrentModel
    assert tiny_recurrent(ULMFIT).vocab_size == VOCAB
