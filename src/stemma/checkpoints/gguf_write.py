"""Models to GGUF files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from stemma.checkpoints.gguf_blocks import LARGEST, pack, quantise
from stemma.checkpoints.gguf_form import form_of
from stemma.checkpoints.gguf_values import ALIGNMENT, header
from stemma.checkpoints.plain import additions
from stemma.checkpoints.quants import BLOCKS
from stemma.checkpoints.rules import Shape
from stemma.checkpoints.stored import Stored
from stemma.errors import CheckpointError, Fault
from stemma.files import new_file

# llama.cpp's numbers for a file whose matrices are mostly of a type.
_FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32, "Q8_0": 7, "Q4_1": 3, "Q4_0": 2}

TYPES = tuple(_FILE_TYPES)
"""How the numbers of a file may be written, the finest first."""

_QUANTISATION_VERSION = 2
_IDS = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
# Tables that are added to the embedding; llama.cpp quantises none.
_ADDED = ("position_embd.weight", "token_types.weight")
_FINER = {"Q4_0": "Q8_0", "Q4_1": "Q8_0"}
_AT_ONCE = 1 << 22  # numbers that are turned together


def write_gguf(
    stored: Stored,
    path: str | Path,
    kind: str = "F32",
    *,
    entries: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a file that llama.cpp opens, one tensor at a time; it appears once all of it is written.

    Vectors stay in float32, and so do tables of positions and segments. A matrix whose rows are no whole blocks is
    written as F16. Beside 4-bit matrices the output, or the embedding that is the output too, has 8 bits.

    Args:
        stored: the model; of any family whose architecture one of the formats can tell.
        path: must not stand yet.
        kind: one of `TYPES`.
        entries: further ones, such as the tokenizer's.
        overwrite: replace the file where it stands.

    Returns:
        heads that were left out, of a model made to embed.

    Raises:
        CheckpointError: naming what GGUF cannot tell of the model, or numbers that the type cannot hold.
    """
    path = Path(path)
    if kind not in TYPES:
        raise CheckpointError(str(path), Fault("type", kind, "is not written", f"use one of {', '.join(TYPES)}"))
    form = form_of(stored)
    if faults := additions(stored):
        raise CheckpointError("gguf weights", faults)
    told = {
        **form.entries,
        "general.type": "model",
        "general.file_type": _FILE_TYPES[kind],
        "general.quantization_version": _QUANTISATION_VERSION,
        **{
            f"tokenizer.ggml.{key}": stored.facts[name]
            for name, key in _IDS.items()
            if type(stored.facts.get(name)) is int
        },
        **(entries or {}),
    }
    shapes = {entry.theirs: entry.shape for entry in form.plan.entries}
    output = _OUTPUT if _OUTPUT in shapes else _EMBEDDING
    kinds = {
        name: _kind(name, shape, _FINER.get(kind, kind) if name == output else kind) for name, shape in shapes.items()
    }
    parameters = {name: parameter.detach() for name, parameter in stored.model.named_parameters()}
    with _written(path, overwrite) as stream:
        stream.write(header(told, [(name, shape, kinds[name]) for name, shape in shapes.items()]))
        for entry in form.plan.entries:
            for piece in _pieces(entry.theirs, entry.write(parameters), kinds[entry.theirs]):
                stream.write(piece)
            stream.write(bytes(-stream.tell() % ALIGNMENT))
    return form.left_out


def _kind(name: str, shape: Shape, asked: str) -> str:
    """How the numbers of a tensor are written."""
    if len(shape) == 1 or name in _ADDED:
        return "F32"
    return "F16" if shape[-1] % BLOCKS[asked].n_values else asked


def _pieces(name: str, tensor: Tensor, kind: str) -> Iterator[bytes]:
    """The bytes of a tensor, a few rows at a time.

    Raises:
        CheckpointError: a number that the type cannot hold.
    """
    rows = tensor.reshape(-1, tensor.shape[-1])
    for part in torch.split(rows, max(1, _AT_ONCE // rows.shape[1])):
        exact = part.float()
        if kind == "F32":
            yield exact.numpy().tobytes()
        elif kind == "BF16":
            yield exact.bfloat16().view(torch.int16).numpy().tobytes()
        elif not (largest := float(exact.abs().max())) <= LARGEST:
            rule = f"exceeds {LARGEST:.0f}, the most that {kind} can hold"
            raise CheckpointError("gguf weights", Fault(name, largest, rule, "use --type f32 or bf16"))
        elif kind == "F16":
            yield exact.half().numpy().tobytes()
        else:
            yield pack(quantise(exact.numpy(), kind), kind).tobytes()


@contextmanager
def _written(path: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """A file to fill, which takes its name once all of it is on the disk.

    Raises:
        CheckpointError: it stands already, or cannot be written.
    """
    if path.is_dir() or (path.exists() and not overwrite):
        raise CheckpointError(str(path), Fault("file", path.name, "exists already", "choose another"))
    try:
        with new_file(path) as stream:
            yield stream
    except OSError as error:
        rule = f"cannot be written: {error.strerror or error}"
        raise CheckpointError(str(path), Fault("file", path.name, rule, "choose another")) from error
