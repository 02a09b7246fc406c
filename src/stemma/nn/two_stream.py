"""Permutation language modelling: a stream of contents, and a second that asks for what stands at its positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.embeddings import readable
from stemma.nn.history import History, check_history
from stemma.nn.masks import Mask
from stemma.nn.outputs import Inputs, Record
from stemma.nn.stacks import Stack, Streams
from stemma.spec.architecture import Architecture


@dataclass(frozen=True)
class RankMask(Mask):
    """What a permutation lets be seen: what precedes it, and what is not predicted (Yang et al. 2019, section 2.3).

    Args:
        ranks: when each key is predicted; -1 for those that are not.
        asking: how many of the last queries stand there once more, as those that do not see themselves.
    """

    ranks: Int[Tensor, "B T"] | None = None
    asking: int = 0

    def dense(
        self, n_queries: int, n_keys: int, device: torch.device, window: int | None = None
    ) -> Bool[Tensor, "B 1 both T"]:
        """True where a query may see a key; the content's rows, then those that ask, which may see nothing at all."""
        assert self.ranks is not None, "a permutation has ranks"
        near = super().dense(n_queries, n_keys, device, window)
        key, query = self.ranks[:, None, None, :], self.ranks[:, None, n_keys - n_queries :, None]
        earlier = (key < query) | (key < 0)
        slots = torch.arange(n_keys, device=device)
        itself = slots == slots[n_keys - n_queries :, None]
        content, asking = near & (earlier | itself), near & earlier
        return torch.cat((content, asking[:, :, n_queries - self.asking :]), 2)


class TwoStreams(nn.Module):
    """The second stream of a permutation's stack, and what it remembers of the segment before.

    Args:
        spec: the architecture.
    """

    def __init__(self, spec: Architecture) -> None:
        super().__init__()
        self.dropout = spec.dropout.residual
        self.masked = nn.Parameter(torch.empty(1, 1, spec.d_model))

    def forward(
        self,
        stack: Stack,
        x: Float[Tensor, "B S D"],
        positions: Int[Tensor, "rows S"],
        inputs: Inputs,
        virtual: Int[Tensor, "B S"] | None,
        keep: int,
        last_only: bool,
        record: Record,
    ) -> tuple[Float[Tensor, "B S D"], Float[Tensor, "B asking D"] | None, History | None]:
        """The content's last states; those of the second stream, which runs where there are ranks; the new history.

        Both streams run as one text: the second's positions follow the content's, see its keys, and are seen by none.

        Args:
            stack: the blocks.
            x: token vectors.
            positions: of each token in its text.
            inputs: ranks, mask, documents, segments and history.
            virtual: numbers of the virtual tokens, if there are any.
            keep: the most positions of the new history; 0 for none.
            last_only: ask for the last position alone.
            record: where hidden states and maps are put, the content's before the second stream's.

        Raises:
            InputError: where the history does not fit.
        """
        rows, length, _ = x.shape
        past = History() if inputs.history is None else inputs.history
        if inputs.history is not None:
            check_history(past, rows, stack.n_layers, inputs.mask, values=readable(inputs.tokens))
        keys = past.keys_with(inputs.mask, rows, length)
        asking, mask = 0, Mask(keys=keys, documents=inputs.documents)
        if inputs.ranks is not None:
            asking = 1 if last_only else length
            ranks = functional.pad(inputs.ranks, (past.length, 0), value=-1)
            mask = RankMask(keys=keys, documents=inputs.documents, ranks=ranks, asking=asking)
            start = functional.dropout(self.masked.expand(rows, asking, -1), self.dropout, self.training)
            x, positions = torch.cat((x, start), 1), torch.cat((positions, positions[..., length - asking :]), -1)
        segments = None if inputs.segments is None else functional.pad(inputs.segments, (past.length, 0))
        virtual = None if virtual is None else functional.pad(virtual, (past.length, 0), value=-1)
        states: list[Tensor] | None = [] if keep and record.hiddens is None else record.hiddens
        x = stack(
            x,
            positions,
            mask,
            virtual=virtual,
            streams=Streams(asking, past.states, segments),
            hiddens=states,
            attentions=record.attentions,
            routings=record.routings,
        )
        asked = None
        if asking:
            x, asked = torch.split_with_sizes(x, (length, asking), 1)
            _part(states, 1, length)
            _part(record.attentions, 2, length)
        if not keep or states is None:
            return x, asked, None
        return x, asked, past.followed_by(states[: stack.n_layers], keys, keep)


def _part(values: list[Tensor] | None, axis: int, length: int) -> None:
    """Cut each value after so many positions; the parts before the cuts come to stand before those after them."""
    if values is not None:
        pairs = [torch.split_with_sizes(value, (length, value.shape[axis] - length), axis) for value in values]
        values[:] = [part for stream in zip(*pairs, strict=True) for part in stream]
