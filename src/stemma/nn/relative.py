"""Attention that knows distances and segments: content on sinusoids, content on same or other segment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.linears import Linear
from stemma.nn.masks import Scores
from stemma.nn.positions import sinusoids
from stemma.spec.architecture import Architecture
from stemma.spec.parts import RelativeSinusoidal, Sinusoidal


@dataclass(frozen=True)
class Distances:
    """What all blocks of a stack read beside queries and keys.

    Args:
        waves: sinusoids of the distances from key to query: from the first key's to the last query down to `-after`.
        after: negative distances among them, of keys that follow the query.
        runs: how many queries stand in each run; every run ends with the last key's position.
        foreign: True where query and key lie in different segments; None where all lie in one.
    """

    waves: Float[Tensor, "distances D"]
    after: int
    runs: tuple[int, ...]
    foreign: Bool[Tensor, "B 1 S T"] | None = None


def distances(
    spec: Architecture,
    runs: tuple[int, ...],
    n_keys: int,
    *,
    ahead: bool,
    like: Tensor,
    segments: Int[Tensor, "B T"] | None = None,
    training: bool = False,
) -> Distances:
    """The distances that a stack's queries meet.

    Args:
        spec: the architecture.
        runs: how many queries stand in each run.
        n_keys: T.
        ahead: whether a query may see keys that follow it.
        like: a tensor whose type and device the sinusoids have.
        segments: numbers of the keys' segments; None where all lie in one.
        training: drop channels of the sinusoids, as of all that enters the first block (the authors' code).
    """
    # One spare column is what lets `shifted` be a view.
    after = max(runs) if ahead else 1
    ids = torch.arange(n_keys - 1, -after - 1, -1, device=like.device)[None]
    waves = sinusoids(Sinusoidal("halves"), ids, spec.d_model, like.dtype)[0]
    waves = functional.dropout(waves, spec.dropout.residual, training)
    if segments is None:
        return Distances(waves, after, runs)
    asking = torch.cat([segments[:, n_keys - run :] for run in runs], 1)
    return Distances(waves, after, runs, asking[:, None, :, None] != segments[:, None, None, :])


def shifted(scores: Float[Tensor, "B H S distances"], n_keys: int) -> Float[Tensor, "B H S T"]:
    """Scores by distance as scores by key: a view whose rows begin one column earlier each (Dai et al. 2019, app. B).

    Args:
        scores: of each query and distance, the longest first; the last query's row begins with that of the first key.
        n_keys: T, less than there are distances.

    >>> shifted(torch.tensor([[[[3.0, 2, 1, 0, -1, -2], [3, 2, 1, 0, -1, -2]]]]), 4)[0, 0].tolist()
    [[2.0, 1.0, 0.0, -1.0], [3.0, 2.0, 1.0, 0.0]]
    """
    n_queries, n_distances = scores.shape[2:]
    flat = scores.flatten(2)[..., n_queries - 1 : n_queries * n_distances - 1]
    return flat.view(*flat.shape[:2], n_queries, n_distances - 1)[..., :n_keys]


class Relative(nn.Module):
    """(q + u) k + (q + v) W r_(i-j), where q k was, with trained u and v a head (Dai et al. 2019, section 3.3).

    With segments, + (q + s) e, e one of two vectors a head: of the same segment, or of another (Yang et al. 2019, 2.5).

    Args:
        spec: the architecture.
    """

    def __init__(self, spec: Architecture) -> None:
        super().__init__()
        self.scale = spec.score_scale
        shape = (spec.n_heads, spec.d_head)
        self.position_key = Linear(spec.d_model, spec.n_heads * spec.d_head, bias=False)
        self.content_bias = nn.Parameter(torch.empty(shape))
        self.position_bias = nn.Parameter(torch.empty(shape))
        if spec.position == RelativeSinusoidal(segments=True):
            self.segment_bias = nn.Parameter(torch.empty(shape))
            self.segment = nn.Parameter(torch.empty(2, *shape))

    def forward(
        self, query: Float[Tensor, "B H S K"], n_keys: int, around: Distances, seen: Scores
    ) -> tuple[Float[Tensor, "B H S K"], Scores]:
        """The queries that meet the keys, and what is added to their products.

        Args:
            query: B H S K.
            n_keys: T, the last of those that the distances reach to.
            around: the distances.
            seen: which keys a query sees, as a boolean bias.
        """
        by_distance = self._by_distance(query, around.waves[-n_keys - around.after :])
        runs = [shifted(run, n_keys) for run in torch.split_with_sizes(by_distance, around.runs, 2)]
        bias = runs[0] if len(runs) == 1 else torch.cat(runs, 2)
        if around.foreign is not None:
            bias = bias + self._by_segment(query, around.foreign)
        assert seen.bias is not None, "the stack gives a dense mask"
        bias = bias.masked_fill(~seen.bias, float("-inf"))
        return query + self.content_bias[:, None], Scores(bias)

    def _by_distance(self, query: Tensor, waves: Tensor) -> Tensor:
        """(q + v) W r, in whichever order multiplies less: few queries, as in a step on a cache, are turned to r."""
        rows, _, n_queries, width = query.shape
        asking = (query + self.position_bias[:, None]) * self.scale
        if rows * n_queries < width and type(self.position_key) is Linear:
            matrix = self.position_key.weight.view(-1, width, waves.shape[1])
            return torch.einsum("bhsk,hkd->bhsd", asking, matrix) @ waves.T
        keys = self.position_key(waves).view(len(waves), -1, width)
        return torch.einsum("bhsk,phk->bhsp", asking, keys)

    def _by_segment(self, query: Tensor, foreign: Tensor) -> Tensor:
        asking = (query + self.segment_bias[:, None]) * self.scale
        same, other = torch.einsum("bhsk,ehk->ebhs", asking, self.segment)[..., None]
        return torch.where(foreign, other, same)
