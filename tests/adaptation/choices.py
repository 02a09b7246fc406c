"""Adaptations to try on every family, and how to run any network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch

from stemma.adaptation import (
    Adaptation,
    Adapters,
    BitFit,
    Frozen,
    Full,
    GradualUnfreezing,
    LoRA,
    TopLayers,
)
from stemma.families import catalogue
from stemma.nn import Model
from stemma.spec import Decoder, Encoder, EncoderDecoder, Family, Permutation
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Vectors, Words

from ..tiny import VOCAB, marked, networks, random_model, random_tokens, results, run, shaped, tiny, tiny_recurrent

ADDING: dict[str, Adaptation] = {
    "lora": LoRA(rank=2, alpha=4.0, targets=("*",)),
    "rslora": LoRA(rank=3, scaling="rank_stabilised", ranks={"value": 2}),
    "dora": LoRA(rank=2, targets=("query", "up", "down"), decomposed=True),
    "houlsby": Adapters(width=5),
    "pfeiffer": Adapters(width=5, placement="pfeiffer", activation="silu"),
    "parallel": Adapters(width=5, placement="parallel", scale=4.0),
}
"""What adds parameters, of which the first three can be merged."""

CHOOSING: dict[str, Adaptation] = {
    "full": Full(),
    "frozen": Frozen(),
    "top": TopLayers(layers=1),
    "bitfit": BitFit(),
    "gradual": GradualUnfreezing(),
}
"""What only says which parameters learn."""

TRANSFORMERS = networks(Encoder, Decoder, EncoderDecoder, Permutation)
each_transformer = pytest.mark.parametrize("family", marked(TRANSFORMERS))
each_network = pytest.mark.parametrize("family", marked([*TRANSFORMERS, *shaped(Recurrent)]))


def in_short(chosen: Iterable[str], names: Iterable[str] = (*ADDING, *CHOOSING)) -> pytest.MarkDecorator:
    """A test of adaptations by name, of which the short tests try some."""
    slow = [pytest.mark.slow]
    return pytest.mark.parametrize("name", [pytest.param(one, marks=[] if one in chosen else slow) for one in names])


def network(family: Family, seed: int = 0) -> Any:
    """A small network of a family, with random values."""
    spec = tiny_recurrent(family) if family.shape is Recurrent else tiny(family)
    return random_model(spec, seed)


def outputs(model: Any) -> list[torch.Tensor]:
    """What a network gives for the same input each time."""
    if isinstance(model, Model):
        with torch.no_grad():
            return list(results(run(model, random_tokens(2, 9))).values())
    with torch.no_grad():
        output = model(_read(model.architecture))
    return [output.hidden, *output.layers]


def loss(model: Any) -> torch.Tensor:
    """A number that depends on all that a network gives."""
    if isinstance(model, Model):
        pair = isinstance(model.architecture.stacks, EncoderDecoder)
        tokens = random_tokens(2, 9)
        output = model(tokens, **({"decoder_tokens": tokens.flip(1)[:, :7]} if pair else {}))
        return sum((value.square().mean() for value in results(output).values()), torch.zeros(()))
    output = model(_read(model.architecture))
    return sum((value.square().mean() for value in output.layers), output.hidden.square().mean())


def disturb(model: torch.nn.Module, name: str, seed: int = 3) -> None:
    """Let an adaptation do something: random values for all that it added."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if f".changes.{name}." in path:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def copies(parameters: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Values as they are now."""
    return {path: parameter.detach().clone() for path, parameter in parameters}


def family_of(name: str) -> Family:
    """The family of this name."""
    return next(one for one in catalogue() if one.name == name)


def _read(spec: Recurrent) -> torch.Tensor:
    match spec.tokens:
        case Vectors(d_embedding=width):
            return torch.randn(2, 7, width, generator=torch.Generator().manual_seed(1))
        case Words():
            return random_tokens(2, 7, vocab=VOCAB)
        case _:
            return torch.randint(1, 6, (2, 7, 9), generator=torch.Generator().manual_seed(1))
