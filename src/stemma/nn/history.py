"""Segment recurrence: what a text's next segment reads of the segments before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from stemma.errors import Fault, InputError


@dataclass(frozen=True)
class History:
    """What every block read of the text so far; no gradient flows into it (Dai et al. 2019, section 3.2).

    Args:
        states: the input of each block; of none where nothing was read.
        mask: True where a position is a real token; None where all are.
    """

    states: tuple[Float[Tensor, "B past D"], ...] = ()
    mask: Bool[Tensor, "B past"] | None = None

    @property
    def length(self) -> int:
        """Positions that are remembered."""
        return self.states[0].shape[1] if self.states else 0

    def keys_with(self, mask: Bool[Tensor, "B S"] | None, rows: int, length: int) -> Bool[Tensor, "B T"] | None:
        """Which keys are real, those of the history before those of a segment.

        Args:
            mask: True where a token of the segment is real; None where all are.
            rows: B.
            length: S, tokens of the segment.
        """
        known = next((one for one in (self.mask, mask) if one is not None), None)
        if known is None or not self.states:
            return mask
        before = known.new_ones(rows, self.length) if self.mask is None else self.mask
        return torch.cat((before, known.new_ones(rows, length) if mask is None else mask), 1)

    def followed_by(self, states: Sequence[Tensor], keys: Bool[Tensor, "B T"] | None, keep: int) -> History:
        """The history after one more segment.

        Args:
            states: the input of each block for the segment.
            keys: from `keys_with`.
            keep: the most positions that are remembered.
        """
        before = self.states or tuple(state[:, :0] for state in states)
        joined = (torch.cat(pair, 1)[:, -keep:].detach() for pair in zip(before, states, strict=True))
        return History(tuple(joined), None if keys is None else keys[:, -keep:])


def check_history(
    history: History, rows: int, n_layers: int, mask: Bool[Tensor, "B S"] | None, *, values: bool
) -> None:
    """See to it that a history fits the network and the segment that goes on with it.

    Args:
        history: what is given.
        rows: B of the segment.
        n_layers: of the network.
        mask: the segment's.
        values: whether masks can be looked at here.

    Raises:
        InputError: where it is another network's or batch's, or padding stands between it and the segment, which
            distances would count.
    """
    faults = []
    if len(history.states) != n_layers:
        rule = f"must hold the states of {n_layers} blocks"
        faults.append(Fault("history", len(history.states), rule, "give the history of the same network"))
    elif history.states[0].shape[0] != rows:
        rule = f"must hold as many rows as tokens, {rows}"
        faults.append(Fault("history", history.states[0].shape[0], rule, "go on with the same batch"))
    if values and history.mask is not None and not bool(history.mask[:, -1].all()):
        faults.append(Fault("history", "padded", "must end with real tokens", "pad the segment before on the left"))
    if values and mask is not None and not bool(mask[:, 0].all()):
        faults.append(Fault("mask", "padded", "must begin with real tokens after a history", "pad on the right"))
    if faults:
        raise InputError("model", faults)
