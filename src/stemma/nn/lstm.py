"""One recurrent layer in one direction: torch's own kernel, and TensorFlow's cell with a projection and clips."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from stemma.spec.recurrent_parts import LSTM, Cell, ProjectedLSTM

State = tuple[Tensor, Tensor]
"""The last output of each row and its cell: what a layer needs to go on."""


class LSTMLayer(nn.Module):
    """Gates i, f, g, o of the input and the last output; c' = f c + i g, h' = o tanh(c') (torch.nn.LSTM).

    Args:
        d_input: width of the input.
        width: of the cell and of the output.
        weight_dropout: rate at which single weights of the last output are left out (Wan et al. 2013, DropConnect).
    """

    def __init__(self, d_input: int, width: int, weight_dropout: float = 0.0) -> None:
        super().__init__()
        self.weight_dropout = weight_dropout
        self.weight_input = nn.Parameter(torch.empty(4 * width, d_input))
        self.weight_hidden = nn.Parameter(torch.empty(4 * width, width))
        self.bias_input = nn.Parameter(torch.empty(4 * width))
        self.bias_hidden = nn.Parameter(torch.empty(4 * width))

    def forward(
        self, x: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"] | None = None, state: State | None = None
    ) -> tuple[Float[Tensor, "B S W"], State]:
        """All outputs, and the state after the last real token of each row.

        Args:
            x: the input.
            mask: True where a token is real; each row begins with its real tokens, at least one.
            state: where the rows begin; zeros where not given.
        """
        dropped = functional.dropout(self.weight_hidden, self.weight_dropout, self.training)
        weights = [self.weight_input, dropped, self.bias_input, self.bias_hidden]
        zeros = x.new_zeros(x.shape[0], self.weight_hidden.shape[1])
        output, cell = state or (zeros, zeros)
        if mask is None:
            start = (output[None], cell[None])
            given, output, cell = torch.lstm(x, start, weights, True, 1, 0.0, self.training, False, True)
            return given, (output[0], cell[0])
        packed = pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        there, back = packed.sorted_indices, packed.unsorted_indices
        assert there is not None, "the rows were sorted"
        assert back is not None, "and can be put back"
        start = (output[None, there], cell[None, there])
        given, output, cell = torch.lstm(
            packed.data, packed.batch_sizes, start, weights, True, 1, 0.0, self.training, False
        )
        whole = PackedSequence(given, packed.batch_sizes, there, back)
        padded, _ = pad_packed_sequence(whole, batch_first=True, total_length=x.shape[1])
        return padded, (output[0, back], cell[0, back])

    def draw(self, generator: torch.Generator) -> None:
        """First values, uniform as in torch.nn.LSTM."""
        bound = self.weight_hidden.shape[1] ** -0.5
        for parameter in self.parameters():
            parameter.uniform_(-bound, bound, generator=generator)


class ProjectedLSTMLayer(nn.Module):
    """As `LSTMLayer`, but c' is clipped, and h' is a clipped map of o tanh(c') (Sak et al. 2014, section 2).

    It follows TensorFlow's LSTMCell, with which ELMo was trained: 1 is added to the forget gate's offset.

    Args:
        d_input: width of the input.
        width: of the cell.
        cell: the projection and the bounds.
        weight_dropout: as in `LSTMLayer`.
    """

    def __init__(self, d_input: int, width: int, cell: ProjectedLSTM, weight_dropout: float = 0.0) -> None:
        super().__init__()
        self.weight_dropout = weight_dropout
        self.cell_bound = math.inf if cell.cell_clip is None else cell.cell_clip
        self.output_bound = math.inf if cell.projection_clip is None else cell.projection_clip
        self.weight_input = nn.Parameter(torch.empty(4 * width, d_input))
        self.weight_hidden = nn.Parameter(torch.empty(4 * width, cell.d_projection))
        self.bias = nn.Parameter(torch.empty(4 * width))
        self.projection = nn.Parameter(torch.empty(cell.d_projection, width))

    def forward(
        self, x: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"] | None = None, state: State | None = None
    ) -> tuple[Float[Tensor, "B S P"], State]:
        """As `LSTMLayer.forward`."""
        d_output, width = self.projection.shape
        hidden = functional.dropout(self.weight_hidden, self.weight_dropout, self.training)
        output, cell = state or (x.new_zeros(x.shape[0], d_output), x.new_zeros(x.shape[0], width))
        # What the input gives to the gates does not wait for the steps. Unbound at once, because the gradient of a step
        # that is indexed would be as large as that of all steps.
        inputs = functional.linear(x, self.weight_input, self.bias).unbind(1)
        outputs = []
        for step, given in enumerate(inputs):
            i, f, g, o = torch.addmm(given, output, hidden.T).chunk(4, -1)
            new_cell = torch.sigmoid(f + 1.0) * cell + torch.sigmoid(i) * torch.tanh(g)
            new_cell = new_cell.clamp(-self.cell_bound, self.cell_bound)
            new_output = functional.linear(torch.sigmoid(o) * torch.tanh(new_cell), self.projection)
            new_output = new_output.clamp(-self.output_bound, self.output_bound)
            if mask is None:
                output, cell = new_output, new_cell
            else:
                real = mask[:, step, None]
                output, cell = torch.where(real, new_output, output), torch.where(real, new_cell, cell)
            outputs.append(output)
        return torch.stack(outputs, 1), (output, cell)

    def draw(self, generator: torch.Generator) -> None:
        """First values as in the authors' code: Glorot's uniform, the weights of a gate counted as one matrix."""
        fans = sum(self.weight_input.shape) + self.weight_hidden.shape[1]
        for weight in (self.weight_input, self.weight_hidden):
            weight.uniform_(-math.sqrt(6 / fans), math.sqrt(6 / fans), generator=generator)
        nn.init.xavier_uniform_(self.projection, generator=generator)
        self.bias.zero_()


def build_cell(cell: Cell, d_input: int, width: int, weight_dropout: float) -> LSTMLayer | ProjectedLSTMLayer:
    """The layer of a cell."""
    match cell:
        case LSTM():
            return LSTMLayer(d_input, width, weight_dropout)
        case ProjectedLSTM():
            return ProjectedLSTMLayer(d_input, width, cell, weight_dropout)
