"""What the native decoder is told: an architecture as plain fields, and its tensors, packed where it multiplies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stemma.adaptation.places import skeleton
from stemma.engine.packed import PackedMatrix, pack
from stemma.errors import Fault, InputError
from stemma.spec.architecture import Architecture
from stemma.spec.ends import LanguageModelHead
from stemma.spec.parts import (
    Alibi,
    EncoderDecoder,
    Gated,
    LayerNorm,
    Learned,
    Parallel,
    Position,
    PostNorm,
    RelativeBuckets,
    Rotary,
    Sinusoidal,
)

State = Mapping[str, Tensor | PackedMatrix]
"""A model's tensors by their names; a matrix may be packed already."""

_EXACT = 32
# What the decoder's own maps make of an encoder's output is computed once, by torch.
_MEMORY = re.compile(r"\.cross_attention\.(key|value)\.")
# Few numbers, or rows that are read and not multiplied.
_SMALL = re.compile(r"\.router\.|relative_bias|position\.weight")
_TABLE = "embeddings.token.weight"


@dataclass(frozen=True)
class Program:
    """A decoder as `stemma_native.Decoder` takes it.

    Args:
        spec: fields; native/spec.hpp tells what each means.
        tensors: by the names that the model has, vectors and small matrices in float32.
    """

    spec: Mapping[str, Any]
    tensors: Mapping[str, PackedMatrix | NDArray[np.float32]]


def faults_of(architecture: Architecture) -> list[Fault]:
    """Why the native step cannot run an architecture's decoder; nothing where it can."""
    return list(_faults(architecture))


def make_program(
    architecture: Architecture, state: State, *, bits: int = 4, head_bits: int = 8, activation_bits: int = 16
) -> Program:
    """Say to the native step what a model's decoder is.

    Args:
        architecture: of the model.
        state: its tensors.
        bits: of the linear maps that are not packed already: 4 or 8; or 32, which leaves them as they are.
        head_bits: the same for the tables of the vocabulary.
        activation_bits: of what packed matrices are multiplied with: 16; or 8, which is faster and less exact.

    Raises:
        InputError: where the native step cannot run it, or tensors are not those of the architecture.
    """
    faults = faults_of(architecture) or list(_strange(architecture, state))
    faults += [
        Fault(name, value, "must be 4, 8 or 32", "use 4, 8 or 32")
        for name, value in {"bits": bits, "head_bits": head_bits}.items()
        if value not in (4, 8, _EXACT)
    ]
    if faults:
        raise InputError("native step", faults)

    def told(name: str, tensor: Tensor | PackedMatrix) -> PackedMatrix | NDArray[np.float32]:
        if isinstance(tensor, PackedMatrix):
            return tensor
        values = np.ascontiguousarray(tensor.detach().to("cpu", torch.float32).numpy())
        wanted = head_bits if name in (_TABLE, "heads.lm.weight") else bits
        return values if values.ndim == 1 or wanted == _EXACT or _SMALL.search(name) else pack(values, wanted)

    tensors = {name: told(name, tensor) for name, tensor in _decoders(state)}
    return Program({**dict(_fields(architecture)), "activation_bits": activation_bits}, tensors)


def _faults(architecture: Architecture) -> Iterator[Fault]:
    remedy = "let torch run it"
    if not architecture.n_decoder_layers:
        yield Fault("stacks", architecture.kind, "has no decoder", "use a model that writes")
    if not dict(_position(architecture.position)):
        yield Fault("position", type(architecture.position).__name__, "is unknown to the native step", remedy)
    for name in ("vision", "modules"):
        if getattr(architecture, name) is not None:
            yield Fault(name, getattr(architecture, name), "is unknown to the native step", remedy)
    if architecture.head(LanguageModelHead) is None:
        yield Fault("heads", [head.name for head in architecture.heads], "has no lm head to write with", remedy)


def _strange(architecture: Architecture, state: State) -> Iterator[Fault]:
    """What is missing from a model's tensors, and what an adaptation has added to them."""
    known = set(skeleton(architecture).state_dict())
    if missing := sorted(known - set(state)):
        yield Fault("state", missing, "are missing", "give every tensor of the model")
    if added := sorted(set(state) - known):
        yield Fault(
            "state", added, "are no tensors of the architecture", "merge adaptations first, or let torch run it"
        )


def _decoders(state: State) -> Iterator[tuple[str, Tensor | PackedMatrix]]:
    """The decoder's own tensors; where it has tables of its own, these stand for the encoder's."""
    begins = "decoder_additions." if any(name.startswith("decoder_additions.") for name in state) else "embeddings."
    for name, tensor in state.items():
        if name == _TABLE or (name.startswith(("heads.lm.", "decoder.")) and not _MEMORY.search(name)):
            yield name, tensor
        elif name.startswith(begins):
            yield name.replace(begins, "embeddings."), tensor


def _fields(architecture: Architecture) -> Iterator[tuple[str, Any]]:
    head = architecture.head(LanguageModelHead)
    assert head is not None, "checked before"
    for name in ("d_model", "n_heads", "n_kv_heads", "d_head", "d_ff", "vocab_size", "d_embedding", "d_inputs"):
        yield name, getattr(architecture, name)
    yield "n_layers", architecture.n_decoder_layers
    yield "windows", [architecture.window(layer) or 0 for layer in range(architecture.n_decoder_layers)]
    yield "norm", "layer" if isinstance(architecture.norm, LayerNorm) else "rms"
    yield "eps", architecture.norm.eps
    placement = architecture.placement
    separate = isinstance(placement, Parallel) and placement.separate
    yield "placement", {PostNorm: "post", Parallel: "parallel"}.get(type(placement), "pre")
    yield "activation", architecture.feedforward.activation
    yield "scale", architecture.score_scale
    yield "embedding_scale", architecture.d_model**0.5 if architecture.embedding.scaled else 1.0
    yield "logit_scale", architecture.d_model**-0.5 if head.scaled else 1.0
    flags = {
        "separate": separate,
        "gated": isinstance(architecture.feedforward, Gated),
        "crossing": isinstance(architecture.stacks, EncoderDecoder),
        "shared_layers": architecture.shared_layers,
        "top_query": architecture.top_query,
        "embedding_norm": architecture.embedding.norm,
    }
    yield from ((name, int(flag)) for name, flag in flags.items())
    yield from _position(architecture.position)
    if isinstance(architecture.position, Rotary):
        yield "d_rotary", architecture.d_rotary
    if isinstance(architecture.position, Alibi):
        yield "slope_scale", architecture.score_scale if architecture.position.scaled else 1.0
    if (experts := architecture.experts) is not None:
        yield "n_experts", experts.n_experts
        yield "n_active", experts.n_active
        yield "expert_every", experts.every
        yield "normalised", int(experts.normalised)


def _position(position: Position) -> Iterator[tuple[str, Any]]:
    """What the native step is told of positions; nothing where it does not know them."""
    match position:
        case Learned(max_positions=rows, offset=offset):
            yield from {"position": "learned", "max_positions": rows, "offset": offset}.items()
        case Sinusoidal(layout=layout):
            yield from {"position": "sinusoidal", "layout": layout}.items()
        case Rotary(base=base, layout=layout):
            yield from {"position": "rotary", "base": base, "layout": layout}.items()
        case Alibi():
            yield "position", "alibi"
        case RelativeBuckets(n_buckets=rows, max_distance=distance):
            yield from {"position": "buckets", "n_buckets": rows, "max_distance": distance}.items()
