"""The cells against torch's own module, against plain formulas, and at their bounds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from stemma.nn.lstm import LSTMLayer, ProjectedLSTMLayer, build_cell
from stemma.spec.recurrent_parts import LSTM, ProjectedLSTM

from .. import tolerances
from ..tiny import apart, scramble

D_INPUT, WIDTH, D_PROJECTION = 5, 7, 3
X = torch.randn(4, 6, D_INPUT, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
MASK = torch.arange(6) < torch.tensor([[6], [3], [1], [5]])
LAYERS = {"plain": LSTM(), "projected": ProjectedLSTM(D_PROJECTION), "clipped": ProjectedLSTM(D_PROJECTION, 0.3, 0.2)}

each_layer = pytest.mark.parametrize("kind", LAYERS)


def layer(kind: str) -> Any:
    made = build_cell(LAYERS[kind], D_INPUT, WIDTH, 0.0).double()
    scramble(made)
    return made


def theirs(kind: str) -> nn.LSTM:
    """torch's module with the same weights; TensorFlow adds 1 to the forget gate, and has one offset a gate."""
    ours = layer(kind)
    module = nn.LSTM(D_INPUT, WIDTH, proj_size=D_PROJECTION if kind == "projected" else 0, batch_first=True).double()
    offset = torch.zeros(4 * WIDTH, dtype=torch.float64)
    offset[WIDTH : 2 * WIDTH] = 1.0
    state = {"weight_ih_l0": ours.weight_input, "weight_hh_l0": ours.weight_hidden}
    if isinstance(ours, LSTMLayer):
        state |= {"bias_ih_l0": ours.bias_input, "bias_hh_l0": ours.bias_hidden}
    else:
        state |= {"bias_ih_l0": ours.bias, "bias_hh_l0": offset, "weight_hr_l0": ours.projection}
    module.load_state_dict(state)
    return module


@pytest.mark.parametrize("kind", ["plain", "projected"])
def test_a_layer_is_torch_s_module(kind: str) -> None:
    output, (hidden, cell) = layer(kind)(X)
    expected, (their_hidden, their_cell) = theirs(kind)(X)
    assert apart(output, expected) < tolerances.FP64
    assert apart(hidden, their_hidden[0]) < tolerances.FP64
    assert apart(cell, their_cell[0]) < tolerances.FP64


def test_the_clipped_cell_is_its_formula() -> None:
    """Word by word from TensorFlow's LSTMCell, one step and one row at a time."""
    ours = layer("clipped")
    output, _ = ours(X)
    for row in range(len(X)):
        m, c = torch.zeros(D_PROJECTION).double(), torch.zeros(WIDTH).double()
        for step in range(X.shape[1]):
            gates = ours.weight_input @ X[row, step] + ours.weight_hidden @ m + ours.bias
            i, f, j, o = gates[:7], gates[7:14], gates[14:21], gates[21:]
            c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(j)
            c = c.clamp(-0.3, 0.3)
            m = (ours.projection @ (torch.sigmoid(o) * torch.tanh(c))).clamp(-0.2, 0.2)
            assert apart(output[row, step], m) < tolerances.FP64


def test_clips_bind() -> None:
    output, (_, cell) = layer("clipped")(X)
    assert output.abs().max() == 0.2
    assert cell.abs().max() == 0.3
    free, (_, free_cell) = layer("projected")(X)
    assert free.abs().max() > 0.2
    assert free_cell.abs().max() > 0.3


@each_layer
def test_padding_changes_neither_outputs_nor_state(kind: str) -> None:
    made = layer(kind)
    output, state = made(X, MASK)
    for row, length in enumerate(MASK.sum(1).tolist()):
        alone, alone_state = made(X[row : row + 1, :length])
        assert apart(output[row : row + 1, :length], alone) < tolerances.FP64
        for part, alone_part in zip(state, alone_state, strict=True):
            assert apart(part[row : row + 1], alone_part) < tolerances.FP64


@each_layer
def test_a_text_in_two_parts_is_a_text(kind: str) -> None:
    made = layer(kind)
    whole, end = made(X)
    first, middle = made(X[:, :2])
    second, last = made(X[:, 2:], None, middle)
    assert apart(torch.cat([first, second], 1), whole) < tolerances.FP64
    assert all(apart(ours, other) < tolerances.FP64 for ours, other in zip(last, end, strict=True))


@each_layer
def test_a_masked_text_goes_on_from_a_state(kind: str) -> None:
    made = layer(kind)
    _, start = made(X.flip(1))
    output, _ = made(X, MASK, start)
    alone, _ = made(X[1:2, :3], None, tuple(part[1:2] for part in start))
    assert apart(output[1:2, :3], alone) < tolerances.FP64


@each_layer
def test_gradients_reach_every_weight(kind: str) -> None:
    made = layer(kind)
    output, _ = made(X, MASK)
    output[MASK].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in made.parameters())


@torch.no_grad()
def test_first_values() -> None:
    plain, projected = LSTMLayer(40, 100), ProjectedLSTMLayer(40, 100, ProjectedLSTM(30))
    for made in (plain, projected):
        made.draw(torch.Generator().manual_seed(0))
    assert all(0.099 < parameter.abs().max() <= 0.1 for parameter in plain.parameters())
    bound = (6 / (40 + 30 + 400)) ** 0.5
    assert 0.99 * bound < projected.weight_input.abs().max() <= bound
    assert 0.99 * bound < projected.weight_hidden.abs().max() <= bound
    assert 0.99 * (6 / 130) ** 0.5 < projected.projection.abs().max() <= (6 / 130) ** 0.5
    assert not projected.bias.any()
