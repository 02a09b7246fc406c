"""How a network knows the order of its tokens."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stemma.spec.parts import RelativeBuckets, Rotary, Sinusoidal


def position_ids(
    n_queries: int, offset: int, device: torch.device, starts: Int[Tensor, " B"] | None = None
) -> Int[Tensor, "rows S"]:
    """The position of each query in its own text.

    Args:
        n_queries: S.
        offset: slots that precede the queries.
        device: of the result.
        starts: the first slot of each row that holds a real token; padding before it is given position 0.
    """
    slots = torch.arange(offset, offset + n_queries, device=device)[None]
    return slots if starts is None else (slots - starts[:, None]).clamp(min=0)


def sinusoids(
    spec: Sinusoidal, ids: Int[Tensor, "rows S"], width: int, dtype: torch.dtype
) -> Float[Tensor, "rows S D"]:
    """sin and cos of position / 10000^(2i/D) (Vaswani et al. 2017, section 3.5).

    Args:
        spec: how sines and cosines are laid out.
        ids: positions.
        width: D.
        dtype: of the result; the angles are computed in double precision.
    """
    rates = 10_000 ** (-torch.arange(0, width, 2, device=ids.device, dtype=torch.float64) / width)
    angles = ids[..., None] * rates
    pair = (angles.sin(), angles.cos())
    waves = torch.cat(pair, -1) if spec.layout == "halves" else torch.stack(pair, -1).flatten(-2)
    return waves.to(dtype)


class Rotation(NamedTuple):
    """Cosines and sines of each query's angles; the sine of a pair's first channel has its sign turned.

    Args:
        cosine: for the channels that are turned.
        sine: for the same.
        interleaved: whether neighbours are a pair.
    """

    cosine: Float[Tensor, "rows 1 S turned"]
    sine: Float[Tensor, "rows 1 S turned"]
    interleaved: bool = False


def rotation(spec: Rotary, ids: Int[Tensor, "rows S"], width: int, dtype: torch.dtype) -> Rotation:
    """Angles position * base^(-2i/width) of the i-th pair of channels (Su et al. 2021, section 3.2.2).

    Args:
        spec: the base and how channels are paired.
        ids: positions.
        width: channels of a head that are turned.
        dtype: of the result; the angles are computed in at least single precision.
    """
    precise = torch.promote_types(dtype, torch.float32)
    rates = spec.base ** (-torch.arange(0, width, 2, device=ids.device, dtype=precise) / width)
    angles = (ids[..., None] * rates)[:, None]
    cosine, sine = (wave.to(dtype) for wave in (angles.cos(), angles.sin()))
    if spec.layout == "halves":
        return Rotation(torch.cat((cosine, cosine), -1), torch.cat((-sine, sine), -1))
    return Rotation(cosine.repeat_interleave(2, -1), torch.stack((-sine, sine), -1).flatten(-2), interleaved=True)


def rotate(x: Float[Tensor, "B heads S K"], turn: Rotation) -> Float[Tensor, "B heads S K"]:
    """Each pair of channels turned by its angle; what lies beyond the turned channels stays.

    Args:
        x: queries or keys.
        turn: the angles.
    """
    width = turn.cosine.shape[-1]
    part = x if width == x.shape[-1] else x[..., :width]
    partner = part.view(*part.shape[:-1], -1, 2).flip(-1).flatten(-2) if turn.interleaved else part.roll(width // 2, -1)
    turned = torch.addcmul(part * turn.cosine, partner, turn.sine)
    return turned if part is x else torch.cat((turned, x[..., width:]), -1)


def alibi(n_heads: int, n_queries: int, n_keys: int, scale: float, like: Tensor) -> Float[Tensor, "1 H S T"]:
    """The slope of each head times the distance of key and query, negative (Press et al. 2022, section 3).

    Slopes are a geometric row from 2^(-8/n) to 2^-8, n the power of two that is at most H; heads beyond it take every
    other one of the row for 2n (their code, and BLOOM's).

    Args:
        n_heads: H.
        n_queries: S, the last of the keys.
        n_keys: T.
        scale: a factor on the bias.
        like: a tensor whose type and device the result has.
    """
    power = 2 ** int(math.log2(n_heads))
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    slopes += [2 ** (-4 * (2 * head + 1) / power) for head in range(n_heads - power)]
    slots = torch.arange(n_keys, device=like.device)
    distance = (slots[None] - slots[n_keys - n_queries :, None]).abs()
    slope_H11 = torch.tensor(slopes, device=like.device, dtype=torch.float64)[:, None, None]
    return (-scale * slope_H11 * distance)[None].to(like.dtype)


class RelativeBias(nn.Module):
    """A bias a head for each bucket of the distance between key and query (Raffel et al. 2020, section 2.1).

    Args:
        spec: how many buckets, and where the last begins.
        n_heads: H.
        bidirectional: half of the buckets are for keys that follow the query.
    """

    def __init__(self, spec: RelativeBuckets, n_heads: int, bidirectional: bool) -> None:
        super().__init__()
        self.spec = spec
        self.bidirectional = bidirectional
        self.weight = nn.Parameter(torch.empty(spec.n_buckets, n_heads))

    def forward(self, n_queries: int, n_keys: int) -> Float[Tensor, "1 H S T"]:
        """The bias of the last `n_queries` of `n_keys` positions."""
        slots = torch.arange(n_keys, device=self.weight.device)
        distance = slots[None] - slots[n_keys - n_queries :, None]
        return self.weight[self.bucket(distance)].permute(2, 0, 1)[None]

    def bucket(self, distance: Int[Tensor, "S T"]) -> Int[Tensor, "S T"]:
        """The bucket of key position minus query position: exact when near, logarithmic when far."""
        rows = self.spec.n_buckets
        first = torch.zeros_like(distance)
        if self.bidirectional:
            rows //= 2
            first = (distance > 0).long() * rows
            distance = distance.abs()
        else:
            distance = (-distance).clamp(min=0)
        exact = rows // 2
        # Computed in single precision in T5's code too: double precision would move distances that lie on an edge.
        ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.spec.max_distance / exact)
        far = (exact + (ratio * (rows - exact)).long()).clamp(max=rows - 1)
        return first + torch.where(distance < exact, distance, far)
