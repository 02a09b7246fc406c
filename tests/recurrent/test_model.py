"""Whole recurrent networks: padding, order, state, heads, characters, first values and errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from stemma.errors import InputError
from stemma.families import COVE, ELMO, ULMFIT
from stemma.nn import LayerMix, RecurrentModel, RecurrentOutput
from stemma.nn.characters import CharacterVectors
from stemma.spec import Family, Recurrent
from stemma.spec.recurrent_parts import (
    Apart,
    Characters,
    Forward,
    Joined,
    ScalarMix,
    Scores,
    TiedScores,
)

from .. import tolerances
from ..tiny import apart, each_recurrent, random_model, scramble, tiny_recurrent

Texts = Callable[..., Any]
MASKS = {
    "right": torch.arange(8) < torch.tensor([[8], [3], [1]]),
    "left": torch.arange(8) >= torch.tensor([[0], [5], [7]]),
    "between": torch.tensor([[1, 0, 1, 1, 0, 1, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 1]]).bool(),
}


def named(output: RecurrentOutput) -> dict[str, torch.Tensor]:
    """All that a pass gave for each position."""
    given = {name: getattr(output, name) for name in ("hidden", "logits", "backward_logits", "mixed")}
    layers = {f"layer {number}": layer for number, layer in enumerate(output.layers)}
    return layers | {name: value for name, value in given.items() if value is not None}


def scored(family: Family) -> Recurrent:
    """The family at sizes of a toy, with scores of words where it has none and can."""
    spec = tiny_recurrent(family)
    can = not spec.head(TiedScores) and not isinstance(spec.directions, Joined)
    return spec.change(heads=(*spec.heads, Scores(23))) if can else spec


@each_recurrent
@pytest.mark.parametrize("side", MASKS)
def test_padding_changes_nothing_wherever_it_stands(family: Family, side: str, texts: Texts) -> None:
    spec, mask = scored(family), MASKS[side]
    model, tokens = random_model(spec, dtype=torch.float64), texts(spec, dtype=torch.float64)
    batch = model(tokens, mask=mask)
    for row in range(len(tokens)):
        alone = model(tokens[row : row + 1, mask[row]])
        for name, value in named(alone).items():
            assert apart(named(batch)[name][row : row + 1, mask[row]], value) < tolerances.FP64, name
        for layer, own in zip(batch.state, alone.state, strict=True):
            for pair, own_pair in zip(layer, own, strict=True):
                for part, own_part in zip(pair, own_pair, strict=True):
                    assert apart(part[row : row + 1], own_part) < tolerances.FP64
    assert all(not value[~mask].any() for value in named(batch).values())


@each_recurrent
def test_the_order_of_a_batch_changes_nothing(family: Family, texts: Texts) -> None:
    spec = scored(family)
    model, tokens, turn = random_model(spec, dtype=torch.float64), texts(spec, dtype=torch.float64), [2, 0, 1]
    mask = MASKS["right"]
    first, second = named(model(tokens, mask=mask)), named(model(tokens[turn], mask=mask[turn]))
    assert all(apart(first[name][turn], second[name]) < tolerances.FP64 for name in first)


@each_recurrent
def test_going_on_from_a_state_is_reading_the_whole(family: Family, texts: Texts) -> None:
    spec = scored(family).change(directions=Forward(), heads=())
    model, tokens = random_model(spec, dtype=torch.float64), texts(spec, dtype=torch.float64)
    whole, state, parts = model(tokens), None, []
    for piece in tokens.split([1, 4, 3], 1):
        output = model(piece, state=state)
        state, parts = output.state, [*parts, output.hidden]
    assert apart(torch.cat(parts, 1), whole.hidden) < tolerances.FP64
    assert state is not None
    assert apart(state[-1][0][1], whole.state[-1][0][1]) < tolerances.FP64


@each_recurrent
def test_a_direction_sees_its_side_alone(family: Family, texts: Texts) -> None:
    """Where two directions stand apart neither half knows the other side; where they are joined all is known."""
    spec = tiny_recurrent(family)
    model, first, second = random_model(spec), texts(spec, 1), texts(spec, 1)
    second = second.clone()
    second[:, 4] = texts(spec, 1, seed=1)[:, 4]
    changed = (model(first).hidden != model(second).hidden).any(-1)[0]
    halves = (model(first).hidden != model(second).hidden)[0].chunk(spec.n_directions, -1)
    if isinstance(spec.directions, Joined):
        assert changed.all()
        return
    assert not halves[0][:4].any()
    assert halves[0][4:].any(-1).all()
    for backward in halves[1:]:
        assert not backward[5:].any()
        assert backward[:5].any(-1).all()


def test_cove_is_torch_s_two_layer_lstm(texts: Texts) -> None:
    spec = tiny_recurrent(COVE).change(widths=(14, 14))
    model, tokens = random_model(spec, dtype=torch.float64), texts(spec, dtype=torch.float64)
    theirs = nn.LSTM(10, 14, num_layers=2, bidirectional=True, batch_first=True).double()
    names = {
        "weight_input": "weight_ih",
        "weight_hidden": "weight_hh",
        "bias_input": "bias_ih",
        "bias_hidden": "bias_hh",
    }
    theirs.load_state_dict(
        {
            f"{names[part]}_l{layer}{('', '_reverse')[int(direction)]}": parameter
            for (_, layer, direction, part), parameter in (
                (name.split("."), parameter) for name, parameter in model.named_parameters()
            )
        }
    )
    assert apart(model(tokens).hidden, theirs(tokens)[0]) < tolerances.FP64


def test_skip_connections_add_the_layer_s_input(texts: Texts) -> None:
    spec = tiny_recurrent(ELMO)
    bare = spec.change(directions=Apart(skip=False))
    with_skip, without = random_model(spec), random_model(bare)
    first, second = (model(texts(spec)).layers for model in (with_skip, without))
    assert apart(first[1], second[1]) == 0
    assert apart(first[2], second[2] + second[1]) < tolerances.FP32


def test_the_token_layer_is_doubled_where_two_networks_read_it(texts: Texts) -> None:
    spec = tiny_recurrent(ELMO)
    layers = random_model(spec)(texts(spec)).layers
    assert [layer.shape[-1] for layer in layers] == list(spec.layer_widths)
    assert torch.equal(*layers[0].chunk(2, -1))


@pytest.mark.parametrize("norm", [False, True])
def test_the_mix_is_its_equation(norm: bool, texts: Texts) -> None:
    spec = tiny_recurrent(ELMO, heads=(ScalarMix(norm),))
    output = random_model(spec, dtype=torch.float64)(texts(spec))
    mix = random_model(spec, dtype=torch.float64).heads["mix"]
    deviations = [(h.var(-1, False, keepdim=True) + 1e-12).sqrt() for h in output.layers]
    normal = [(h - h.mean(-1, True)) / deviation for h, deviation in zip(output.layers, deviations, strict=True)]
    layers = normal if norm else output.layers
    weights = [w.exp() / sum(other.exp() for other in mix.weights) for w in mix.weights]
    expected = mix.gamma * sum(w * h for w, h in zip(weights, layers, strict=True))
    assert output.mixed is not None
    assert apart(output.mixed, expected) < tolerances.FP64


def test_a_fresh_mix_is_the_mean() -> None:
    layers = [torch.full((1, 1, 2), float(number)) for number in range(3)]
    assert LayerMix(3)(layers).tolist() == [[[1.0, 1.0]]]


def test_scores_read_each_half_with_one_matrix(texts: Texts) -> None:
    spec = tiny_recurrent(ELMO, heads=(Scores(23),))
    model = random_model(spec, dtype=torch.float64)
    output = model(texts(spec))
    halves, head = output.hidden.chunk(2, -1), model.heads["lm"]
    assert apart(output.logits, halves[0] @ head.weight.T + head.bias) < tolerances.FP64
    assert apart(output.backward_logits, halves[1] @ head.weight.T + head.bias) < tolerances.FP64


def test_scores_may_be_of_other_words_than_are_read(texts: Texts) -> None:
    spec = tiny_recurrent(ULMFIT, heads=(Scores(23),), widths=(14, 12))
    assert random_model(spec)(texts(spec)).logits.shape == (3, 8, 23)


def test_tied_scores_read_the_table(texts: Texts) -> None:
    spec = tiny_recurrent(ULMFIT)
    model = random_model(spec, dtype=torch.float64)
    output = model(texts(spec))
    expected = output.hidden @ model.embeddings.weight.T + model.heads["lm"].bias
    assert apart(output.logits, expected) < tolerances.FP64
    assert output.backward_logits is None


# --- Characters ------------------------------------------------------------------------------------------------------


def test_a_word_s_vector_is_its_formula(texts: Texts) -> None:
    spec = tiny_recurrent(ELMO)
    assert isinstance(spec.tokens, Characters)
    made = CharacterVectors(spec.tokens).double()
    scramble(made)
    tokens = texts(spec, 1, 2)
    tokens[0, 1, 4:] = 0
    for place in range(2):
        rows = [made.table[code - 1] if code else torch.zeros(6).double() for code in tokens[0, place].tolist()]
        spelt = torch.stack(rows)
        channels = []
        for convolution in made.filters:
            width = convolution.weight.shape[2]
            windows = spelt.unfold(0, width, 1)  # starts, channels, places
            channels.append(torch.einsum("sdw,cdw->sc", windows, convolution.weight).amax(0) + convolution.bias)
        x = torch.cat(channels).relu()
        for highway in made.highways:
            carry = torch.sigmoid(highway.carry(x))
            x = carry * highway.transform(x).relu() + (1 - carry) * x
        assert apart(made(tokens)[0, place], made.projection(x)) < tolerances.FP64


def test_a_word_twice_in_a_batch_has_one_vector(texts: Texts) -> None:
    spec = tiny_recurrent(ELMO)
    tokens = texts(spec, 2, 3)
    tokens[1, 2] = tokens[0, 1]
    vectors = random_model(spec).embeddings(tokens)
    assert torch.equal(vectors[1, 2], vectors[0, 1])
    assert not torch.equal(vectors[1, 1], vectors[0, 1])


def test_words_of_zeros_are_padding(texts: Texts) -> None:
    spec = tiny_recurrent(ELMO)
    model, tokens = random_model(spec, dtype=torch.float64), texts(spec)
    tokens[~MASKS["right"]] = 0
    marked, unmarked = model(tokens, mask=MASKS["right"]), model(tokens)
    assert torch.equal(marked.hidden, unmarked.hidden)


# --- First values and errors -------------------------------------------------------------------------------


@each_recurrent
def test_a_seed_gives_one_network(family: Family) -> None:
    spec = scored(family)
    first, second, third = (RecurrentModel(spec, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)
    assert all(value.isfinite().all() for value in first.values())


def test_first_values_of_characters_are_the_authors() -> None:
    tokens = Characters(30, ((1, 60), (3, 90)), n_highway=1, d_character=20)
    spec = Recurrent(tokens=tokens, widths=(8,), heads=(Scores(5000),))
    state = RecurrentModel(spec).state_dict()
    assert 0.99 < state["embeddings.table"].abs().max() <= 1
    assert 0.0495 < state["embeddings.filters.1.weight"].abs().max() <= 0.05
    assert (state["embeddings.highways.0.carry.bias"] == -2).all()
    assert not state["embeddings.highways.0.transform.bias"].any()
    for name, fan in (("embeddings.highways.0.carry", 150), ("embeddings.projection", 150), ("heads.lm", 8)):
        weight = state[f"{name}.weight"]
        expected = fan**-0.5
        assert abs(weight.std() / expected - 1) < tolerances.DEVIATIONS / (2 * weight.numel()) ** 0.5
    tanh = RecurrentModel(spec.change(tokens=replace(tokens, activation="tanh"))).state_dict()
    weight = tanh["embeddings.filters.1.weight"]
    assert abs(weight.std() / 60**-0.5 - 1) < tolerances.DEVIATIONS / (2 * weight.numel()) ** 0.5


@each_recurrent
def test_what_does_not_fit_is_named(family: Family, texts: Texts) -> None:
    spec = tiny_recurrent(family)
    model, tokens = random_model(spec), texts(spec)
    state = model(tokens[:2]).state
    for field, call in {
        "mask": lambda: model(tokens, mask=MASKS["right"] & (torch.arange(3) != 1)[:, None]),
        "state": lambda: model(tokens, state=state),
        "tokens": lambda: model(tokens[:, :0]),
    }.items():
        with pytest.raises(InputError) as caught:
            call()
        assert [fault.field for fault in caught.value.faults] == [field]


@pytest.mark.parametrize("family", [ELMO, ULMFIT], ids=lambda family: family.name)
def test_an_id_without_a_row_is_named(family: Family, texts: Texts) -> None:
    spec = tiny_recurrent(family)
    tokens = texts(spec)
    tokens[0, 0] = 262
    with pytest.raises(InputError, match="tokens=262 lies outside"):
        random_model(spec)(tokens)


@each_recurrent
def test_every_family_learns(family: Family, texts: Texts) -> None:
    """Each as what it can be trained as: its own words, or one direction on words where it needs a decoder."""
    spec = scored(family)
    if not (spec.head(Scores) or spec.head(TiedScores)):
        spec = spec.change(directions=Forward(), heads=(Scores(23),))
    model, tokens = RecurrentModel(spec).train(), texts(spec, 4, 6)
    answers = torch.randint(23, (4, 6), generator=torch.Generator().manual_seed(2))
    optimiser, losses = torch.optim.Adam(model.parameters(), lr=0.02), []
    for _ in range(30):
        output = model(tokens)
        losses.append(functional.cross_entropy(output.logits.flatten(0, 1), answers.flatten()))
        if output.backward_logits is not None:
            losses[-1] = losses[-1] + functional.cross_entropy(output.backward_logits.flatten(0, 1), answers.flatten())
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.8 * losses[0]
