"""What an adaptation takes, told before it starts: parameters, memory and operations against full tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.attaching import learning
from stemma.adaptation.packed import PackedLinear
from stemma.adaptation.places import ADDED, levels, linears
from stemma.spec.activations import activation_bytes
from stemma.spec.architecture import Architecture
from stemma.spec.costs import forward_flops
from stemma.spec.parts import EncoderDecoder

_FLOAT = 4
# AdamW's two moments.
_MOMENTS = 2
# Scores are computed anew, as fused kernels do.
_KEPT = "all but scores"


@dataclass(frozen=True)
class Memory:
    """Bytes of a training step.

    Args:
        weights: all parameters, and what is held as integers.
        gradients: of what learns, in float32.
        optimiser: AdamW's moments of what learns.
        activations: what is kept of the batch for the way back; None where no formula covers the network.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int | None

    @property
    def total(self) -> int:
        """All of it that is known."""
        return self.weights + self.gradients + self.optimiser + (self.activations or 0)


@dataclass(frozen=True)
class Summary:
    """What learns, and what a step takes beside one of full tuning.

    Args:
        trained: parameters that learn.
        total: parameters, with what was added; those held as integers count.
        memory: of a step.
        full_memory: of a step of full tuning.
        flops: operations of a step.
        full_flops: those of a step of full tuning.
    """

    trained: int
    total: int
    memory: Memory
    full_memory: Memory
    flops: int
    full_flops: int

    @property
    def share(self) -> float:
        """Of the parameters, how many learn."""
        return self.trained / self.total

    def rows(self) -> list[tuple[str, str, str]]:
        """A table: what, with the adaptation, with full tuning."""
        here, full = self.memory, self.full_memory
        parts = [
            (part, getattr(here, part), getattr(full, part))
            for part in ("weights", "gradients", "optimiser", "activations")
        ]
        return [
            ("trained parameters", f"{self.trained:,} ({self.share:.2%})", f"{self.total:,}"),
            *((f"{part}, MB", _megabytes(one), _megabytes(other)) for part, one, other in parts),
            ("memory, MB", _megabytes(here.total), _megabytes(full.total)),
            ("GFLOPs a step", f"{self.flops / 1e9:,.3g}", f"{self.full_flops / 1e9:,.3g}"),
        ]

    def __str__(self) -> str:
        head = ("", "adapted", "full")
        table = [head, *self.rows()]
        widths = [max(len(row[column]) for row in table) for column in range(3)]
        return "\n".join(
            f"{name:<{widths[0]}}  {one:>{widths[1]}}  {other:>{widths[2]}}".rstrip() for name, one, other in table
        )


def summary(
    model: Any,
    adaptations: Mapping[str, Adaptation],
    *,
    heads: Sequence[str] = (),
    length: int = 128,
    batch: int = 32,
) -> Summary:
    """What a step of training takes with adaptations, by arithmetic alone.

    Forwards a weight costs 2 operations a token. Backwards it costs 2 more where it learns, and 2 where a gradient
    passes to what learns below: with a little that learns in every block a step takes 2/3 of full tuning's, and below
    the lowest part that learns nothing is computed or kept.

    Args:
        model: the network, to which they are attached; one on "meta" does too.
        adaptations: by their names.
        heads: of the task, which learn too.
        length: tokens of a text; with two stacks of the source and of the target each.
        batch: texts of a step.
    """
    parameters = dict(model.named_parameters())
    learned = set(learning(model, adaptations, heads))
    packed = {f"{path}.weight": one for path, one in linears(model).items() if isinstance(one, PackedLinear)}
    shapes = {path: tuple(part.shape) for path, part in parameters.items()}
    shapes |= {path: (one.out_features, one.in_features) for path, one in packed.items()}
    sizes = {path: prod(shape) for path, shape in shapes.items()}
    flops, full_flops, reached = _operations(model.architecture, shapes, learned, length)
    total, trained = sum(sizes.values()), sum(sizes[path] for path in learned)
    own = sum(size for path, size in sizes.items() if ADDED not in path)
    held = sum(part.numel() * part.element_size() for part in (*model.parameters(), *model.buffers()))
    spec = model.architecture
    kept = batch * activation_bytes(spec, length, _FLOAT)[_KEPT] if isinstance(spec, Architecture) else None
    return Summary(
        trained,
        total,
        _memory(held, trained, None if kept is None else round(kept * reached)),
        _memory(_FLOAT * own, own, kept),
        batch * flops,
        batch * full_flops,
    )


def _operations(
    spec: Any, shapes: Mapping[str, tuple[int, ...]], learned: set[str], length: int
) -> tuple[int, int, float]:
    """Of one text's step, of one with full tuning, and the share of the blocks that a gradient reaches."""
    depths = levels(shapes)
    blocks, lowest = max(depths.values()) - 1, max((depths[path] for path in learned), default=0)
    reached = min(lowest, blocks) / blocks
    products = {
        path: round(2 * length * prod(shape) * _active(spec, path))
        for path, shape in shapes.items()
        if 1 <= depths[path] <= blocks and len(shape) > 1
    }
    inner = sum(cost for path, cost in products.items() if ADDED not in path)
    added = sum(cost for path, cost in products.items() if ADDED in path)
    passed = sum(cost for path, cost in products.items() if depths[path] <= lowest)
    body, ends = _forward(spec, inner, length)
    taught = ends * any(path.startswith("heads.") or path == "embeddings.token.weight" for path in learned)
    gradients = sum(products.get(path, 0) for path in learned)
    backward = ends + passed + round(2 * (body - inner) * reached) + taught + gradients
    return body + ends + added + backward, 3 * (body + ends), reached


def _forward(spec: Any, inner: int, length: int) -> tuple[int, int]:
    """Operations of one text's forward pass below the heads, and in them."""
    if not isinstance(spec, Architecture):
        return inner, 0
    lengths = (length, length) if isinstance(spec.stacks, EncoderDecoder) else length
    body = forward_flops(spec.change(heads=()), lengths)
    return body, forward_flops(spec, lengths) - body


def _active(spec: Any, path: str) -> float:
    """The share of the tokens that meet a weight."""
    experts = getattr(spec, "experts", None)
    return experts.n_active / experts.n_experts if experts is not None and ".experts." in path else 1.0


def _memory(weights: int, trained: int, activations: int | None) -> Memory:
    return Memory(weights, _FLOAT * trained, _MOMENTS * _FLOAT * trained, activations)


def _megabytes(number: int | None) -> str:
    return "?" if number is None else f"{number / 1e6:,.1f}"
