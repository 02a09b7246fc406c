"""First values of every parameter, as each family's paper or code has them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stemma.nn.attention import Attention
from stemma.nn.feedforward import FeedForward
from stemma.nn.norms import Normalise
from stemma.nn.positions import RelativeBias
from stemma.spec.architecture import Architecture
from stemma.spec.training import FanIn, Normal, XavierUniform


@torch.no_grad()
def initialise(model: nn.Module, spec: Architecture, generator: torch.Generator) -> None:
    """Draw every parameter.

    Args:
        model: a network built from `spec`.
        spec: the architecture, which says how.
        generator: the source of randomness; one seed gives one network.
    """
    for module in model.modules():
        own = dict(module.named_parameters(recurse=False))
        for name, parameter in own.items():
            if isinstance(module, Normalise):
                parameter.fill_(1.0 if name == "weight" else 0.0)
            elif parameter.ndim == 1:
                parameter.zero_()
            else:
                _draw_matrix(parameter, module, spec, generator)
    match spec.initialisation:
        case Normal(std=std, truncated=truncated, shrink_residual=True):
            depth = 2 * (spec.n_encoder_layers + spec.n_decoder_layers)
            for last in _last_maps(model):
                _draw_normal(last, std / math.sqrt(depth), truncated, generator)
        case FanIn():
            for attention in (module for module in model.modules() if isinstance(module, Attention)):
                query = attention.query.weight
                query.normal_(0.0, (spec.d_model * spec.d_head) ** -0.5, generator=generator)


def _last_maps(model: nn.Module) -> list[Tensor]:
    """The matrices that end a sub-layer, whose outputs add up in the residual stream."""
    ends = {Attention: "output", FeedForward: "down"}
    return [getattr(module, ends[type(module)]).weight for module in model.modules() if type(module) in ends]


def _draw_matrix(weight: Tensor, module: nn.Module, spec: Architecture, generator: torch.Generator) -> None:
    table = isinstance(module, nn.Embedding)
    match spec.initialisation:
        case Normal(std=std, truncated=truncated):
            _draw_normal(weight, std, truncated, generator)
        case XavierUniform() if table:
            weight.normal_(0.0, spec.d_model**-0.5, generator=generator)
        case XavierUniform():
            nn.init.xavier_uniform_(weight, generator=generator)
        case FanIn() if table:
            weight.normal_(0.0, 1.0, generator=generator)
        case FanIn() if isinstance(module, RelativeBias):
            weight.normal_(0.0, spec.d_model**-0.5, generator=generator)
        case FanIn():
            weight.normal_(0.0, weight.shape[1] ** -0.5, generator=generator)


def _draw_normal(weight: Tensor, std: float, truncated: bool, generator: torch.Generator) -> None:
    if truncated:
        nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=generator)
    else:
        weight.normal_(0.0, std, generator=generator)
