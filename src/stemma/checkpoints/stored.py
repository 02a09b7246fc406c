"""A model out of tensors, whichever kind of file they lie in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from stemma.checkpoints.rules import Plan, Shape, Tensors, make_plan
from stemma.errors import CheckpointError, Fault
from stemma.families import closest
from stemma.nn import Model
from stemma.nn.pooling import Projections
from stemma.spec.architecture import SIZE_FIELDS, Architecture
from stemma.spec.lineage import Family
from stemma.spec.mapping import WeightRule
from stemma.spec.pooling import Pooling

# No model comes near it, and the bytes of a matrix of this side still fit 63 bits.
_LARGEST = 2**24

Candidates = Sequence[tuple[Family, Sequence[WeightRule]]]


@dataclass(frozen=True)
class Stored:
    """A model and what is known of it beside its weights.

    Args:
        family: the nearest family of the tree.
        model: the network.
        facts: entries of a configuration that change no logits, written back as they came.
        pooling: how to embed a text, for models made to.
        metadata: for a GGUF file all of its entries, from which its tokenizer is made.
        projections: the tensors of the pooling's dense layers.
    """

    family: Family
    model: Model
    facts: Mapping[str, Any] = field(default_factory=dict)
    pooling: Pooling | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    projections: Projections = ()

    @property
    def architecture(self) -> Architecture:
        """That of the model."""
        return self.model.architecture


def plans(
    candidates: Candidates, architecture: Architecture, prefixes: Sequence[str], n_tensors: int
) -> Iterator[tuple[Family, Plan]]:
    """The nearest of the families whose rules cover an architecture, and its plan with each prefix.

    Args:
        candidates: families and their rules.
        architecture: what the configuration asks for.
        prefixes: to plan with, one after the other.
        n_tensors: how many there are in the file; a configuration that asks for more blocks is not tried.

    Raises:
        CheckpointError: no family's rules cover it; naming what those of the first leave out.
    """
    sizes = sizes_of(architecture)
    if faults := list(_oversized(architecture, n_tensors)):
        raise CheckpointError("config", faults)
    shapes = shapes_of(architecture)
    covering, failures = {}, []
    for family, rules in candidates:
        try:
            make_plan(shapes, rules, sizes=sizes)
            covering[family.name] = family, rules
        except CheckpointError as error:
            failures.append(error)
    if not covering:
        raise failures[0]
    family, rules = covering[closest(architecture, tuple(family for family, _ in covering.values())).name]
    for prefix in dict.fromkeys(prefixes):
        yield family, make_plan(shapes, rules, sizes=sizes, prefix=prefix)


def _oversized(architecture: Architecture, n_tensors: int) -> Iterator[Fault]:
    """Sizes that no checkpoint of so many tensors has, found before anything of that size is made."""
    vision = vars(architecture.vision) if architecture.vision else {}
    blocks = architecture.n_encoder_layers + architecture.n_decoder_layers + vision.get("n_layers", 0)
    if blocks > n_tensors:
        yield Fault("n_layers", blocks, f"exceeds the {n_tensors} tensors of the file", "correct the configuration")
    widths = {**sizes_of(architecture), "n_heads * d_head": architecture.n_heads * architecture.d_head}
    for part in ("position", "embedding", "experts", "vision", "modules"):
        if (held := getattr(architecture, part)) is not None:
            widths |= {f"{part}.{name}": value for name, value in vars(held).items() if type(value) is int}
    for name, value in widths.items():
        if value > _LARGEST:
            yield Fault(name, value, f"exceeds {_LARGEST}", "correct the configuration")


def fill(architecture: Architecture, plan: Plan, tensors: Tensors, dtype: torch.dtype) -> Model:
    """A model whose parameters are read one tensor at a time, without a second copy of them all."""
    model = Model(architecture, seed=None, dtype=dtype)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in plan.read(tensors):
            parameters[name].copy_(tensor)
    return model


def shapes_of(architecture: Architecture) -> dict[str, Shape]:
    """Every parameter's name and shape, without allocating one."""
    model = Model(architecture, seed=None, device="meta")
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def sizes_of(architecture: Architecture) -> dict[str, int]:
    """The sizes that rules speak of, by name."""
    return {name: getattr(architecture, name) for name in SIZE_FIELDS}
