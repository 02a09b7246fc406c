"""A loaded model's matrices in 4 or 8 bits, and what writes with them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from stemma.adaptation.changes import changes_of
from stemma.adaptation.places import maps
from stemma.checkpoints import Stored
from stemma.checkpoints.gguf_codes import read_codes
from stemma.compiled import compiled
from stemma.engine.native import make_decoder
from stemma.engine.packed import PackedMatrix, pack
from stemma.engine.program import faults_of, make_program
from stemma.engine.speculation import Draft, DraftModel, LookAhead, PromptLookup, check_draft
from stemma.engine.stepper import NativeStepper
from stemma.errors import Fault, InputError
from stemma.generation import ModelStepper, Stepper
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Shape

Kind = Literal["int4", "int8"]
"""How many bits a weight of a map has."""

BITS: Mapping[str, int] = {"int4": 4, "int8": 8}

TABLES = ("embeddings.token.weight", "heads.lm.weight")
"""Those of the vocabulary."""


def check_kind(kind: str) -> None:
    """See to it that weights can be quantised so.

    Raises:
        InputError: they cannot.
    """
    if kind not in BITS:
        raise InputError("load", Fault("quantize", kind, "is unknown", f"use one of {', '.join(get_args(Kind))}"))


def best_precision() -> torch.dtype:
    """In which torch reads prompts fastest here."""
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def quantise(stored: Stored, kind: Kind, source: Path | None = None, head: Kind = "int8") -> dict[str, PackedMatrix]:
    """The matrices of a model's blocks, and the tables of its vocabulary, as small integers.

    Blocks of a GGUF file that have as many bits already are taken as they are.

    Args:
        stored: the model, in full precision.
        kind: of the maps in blocks.
        source: the GGUF file that it was read from, if it was.
        head: of the tables.

    Raises:
        InputError: a network without maps in blocks, weights that scales cannot hold.
    """
    check_kind(kind)
    check_kind(head)
    spec: Shape = stored.architecture
    if not isinstance(spec, Architecture):
        rule = f"cannot be quantised: a {spec.kind} network has no maps in blocks"
        raise InputError("load", Fault("quantize", kind, rule, "leave it in floating point"))
    wanted = {f"{path}.weight": BITS[kind] for path in maps(stored.model) if not path.endswith(".router")}
    parameters = dict(stored.model.named_parameters())
    wanted |= {name: BITS[head] for name in TABLES if name in parameters}
    codes = dict(read_codes(source, stored)) if source is not None and source.is_file() else {}
    found = {}
    for name, bits in ((name, wanted[name]) for name in parameters if name in wanted):
        ready = PackedMatrix(*codes.pop(name)) if name in codes else None
        exact = parameters[name].detach().float().cpu().numpy
        found[name] = ready if ready is not None and ready.bits == bits else pack(exact(), bits)
    return found


@torch.no_grad()
def round_weights(model: Any, matrices: Mapping[str, PackedMatrix]) -> None:
    """Give a network the values that its quantised matrices stand for.

    Args:
        model: changed in place, in its own precision.
        matrices: by the names of its parameters.
    """
    parameters = dict(model.named_parameters())
    for name, matrix in matrices.items():
        parameters[name].copy_(torch.from_numpy(matrix.dequantised()))


class QuantisedWeights:
    """The matrices of a loaded model as small integers.

    Args:
        model: which holds the same values, rounded to its own precision.
        kind: of the maps in blocks.
        matrices: by the names of the model's parameters.
    """

    def __init__(self, model: Any, kind: Kind, matrices: Mapping[str, PackedMatrix]) -> None:
        self.model = model
        self.kind = kind
        self.matrices = matrices
        self._stamp = _stamp(model)

    @cached_property
    def decoder(self) -> Any:
        """The native decoder; None where there is none for this model or on this machine."""
        if not self.model.architecture.n_decoder_layers or compiled() is None or faults_of(self.model.architecture):
            return None
        return make_decoder(make_program(self.model.architecture, {**self.model.state_dict(), **self.matrices}))

    def stepper(self, reader: ModelStepper, speculate: QuantisedWeights | Literal["lookup"] | None = None) -> Stepper:
        """What writes: the native step; or torch, where the model was changed or more than its own weights are asked.

        Args:
            reader: of the prompts.
            speculate: what guesses for the native step.

        Raises:
            InputError: what guesses is unknown, or not for this model.
        """
        draft = _draft(self.model, speculate)
        here = next(self.model.parameters()).device.type == "cpu"
        own = here and reader.images is None and not any(reader.before.values()) and not _adapted(self.model)
        if not own or not self.holds() or self.decoder is None:
            return reader
        native = NativeStepper(reader, self.decoder)
        return native if draft is None else LookAhead(native, draft)

    def holds(self) -> bool:
        """Whether the model still has these weights."""
        return self._stamp == _stamp(self.model)


def _draft(model: Any, speculate: QuantisedWeights | str | None) -> Draft | None:
    """What guesses; nothing where the smaller model's native step is not there either."""
    if speculate is None:
        return None
    if speculate == "lookup":
        return PromptLookup()
    if not isinstance(speculate, QuantisedWeights):
        remedy = "use lookup, or load the smaller model quantised"
        raise InputError("generate", Fault("speculate", speculate, "is no guesser", remedy))
    guesser = speculate.model.architecture
    check_draft(guesser, model.architecture)
    return None if speculate.decoder is None else DraftModel(speculate.decoder, guesser.max_tokens)


def _adapted(model: Any) -> bool:
    """Whether adaptations act on a network here."""
    return any(held.in_force() for part in model.modules() if (held := changes_of(part)) is not None)


def _stamp(model: Any) -> list[tuple[int, int]]:
    """What changes with any parameter."""
    return [(part.data_ptr(), part._version) for part in model.parameters()]
