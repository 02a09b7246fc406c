"""Quantised models as folders: what was rounded away is not needed to open them again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stemma.checkpoints import Stored
from stemma.checkpoints.atomic import new_folder
from stemma.checkpoints.own import OWN_FILE, own_content, read_own
from stemma.checkpoints.pooling import read_pooling, write_pooling
from stemma.checkpoints.projections import read_projections, write_projections
from stemma.checkpoints.safety import read_json
from stemma.checkpoints.weights import Weights, write_weights
from stemma.engine.packed import GROUP, PackedMatrix
from stemma.engine.weights import BITS, Kind, round_weights
from stemma.errors import CheckpointError, Fault
from stemma.nn import Model

QUANTISED_FILE = "quantised.json"
"""What tells that a folder holds a quantised model."""

_FORMAT = 1
_AGAIN = "quantise the model again"


def write_quantised(
    stored: Stored,
    kind: Kind,
    matrices: Mapping[str, PackedMatrix],
    folder: str | Path,
    *,
    overwrite: bool = False,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write a folder that appears once all of it is written.

    Each matrix is three tensors, named after its parameter: `codes` (uint8; two of 4 bits in a byte, the first in the
    low half), `scales` and `minimums` in half precision. All other parameters are kept as they are.

    Args:
        stored: the model, whose matrices hold the same values.
        kind: of the maps in blocks.
        matrices: by the names of the model's parameters.
        folder: must not stand yet.
        overwrite: replace it where it does.
        beside: writes further files, such as a tokenizer's, into the folder that it is given.

    Raises:
        CheckpointError: the folder stands already, or cannot be written.
    """
    with new_folder(Path(folder), overwrite=overwrite) as partial:
        write_weights(_tensors(stored.model, matrices), partial)
        _write(partial / OWN_FILE, own_content(stored, stored.facts))
        _write(partial / QUANTISED_FILE, {"format": _FORMAT, "kind": kind, "group": GROUP})
        if stored.pooling is not None:
            write_pooling(stored.pooling, partial, stored.architecture.d_hidden)
            write_projections(stored.projections, partial)
        if beside is not None:
            beside(partial)


def read_quantised(folder: Path, dtype: torch.dtype) -> tuple[Stored, Kind, dict[str, PackedMatrix]]:
    """What `write_quantised` wrote.

    Args:
        folder: holds `QUANTISED_FILE`.
        dtype: of the model's parameters.

    Raises:
        CheckpointError: naming everything that keeps it from being read as it was meant.
    """
    told = read_json(folder / QUANTISED_FILE)
    faults = [
        Fault(name, told.get(name), f"must be {wanted}", "use the version that wrote it")
        for name, wanted in {"format": _FORMAT, "group": GROUP}.items()
        if told.get(name) != wanted
    ]
    kind: Any = told.get("kind")
    if kind not in BITS:
        faults.append(Fault("kind", kind, f"must be one of {', '.join(BITS)}", _AGAIN))
    own = read_own(folder)
    if own is None:
        faults.append(Fault(OWN_FILE, None, "is missing", "copy the whole folder again"))
    if faults or own is None:
        raise CheckpointError(str(folder / QUANTISED_FILE), faults)
    weights = Weights(folder, {})
    model = Model(own.architecture, seed=None, dtype=dtype)
    matrices, plain = _read(folder, model, weights)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in plain:
                parameter.copy_(plain[name])
    round_weights(model, matrices)
    pooling = read_pooling(folder)
    projections = () if pooling is None else read_projections(folder, pooling)
    return Stored(own.family, model, own.facts, pooling, projections=projections), kind, matrices


def _tensors(model: Any, matrices: Mapping[str, PackedMatrix]) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in model.named_parameters():
        if name not in matrices:
            yield name, parameter.detach()
            continue
        matrix = matrices[name]
        codes = _halved(matrix.codes) if matrix.bits == 4 else matrix.codes.view(np.uint8)
        yield f"{name}.codes", torch.from_numpy(np.ascontiguousarray(codes))
        yield f"{name}.scales", torch.from_numpy(np.ascontiguousarray(matrix.scales))
        if matrix.minimums is not None:
            yield f"{name}.minimums", torch.from_numpy(np.ascontiguousarray(matrix.minimums))


def _halved(codes: Any) -> Any:
    """Two codes of 4 bits in a byte; a row of odd length ends with a nought."""
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    return even[:, ::2] | even[:, 1::2] << 4


def _read(folder: Path, model: Any, weights: Weights) -> tuple[dict[str, PackedMatrix], dict[str, Tensor]]:
    """The matrices of a folder, and its other tensors."""
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    packed = {name: shape for name, shape in shapes.items() if len(shape) == 2 and f"{name}.codes" in weights.infos}
    wanted: dict[str, tuple[int, ...]] = {name: shape for name, shape in shapes.items() if name not in packed}
    for name, (rows, columns) in packed.items():
        four = f"{name}.minimums" in weights.infos
        wanted[f"{name}.codes"] = rows, -(-columns // 2) if four else columns
        parts = ("scales", "minimums") if four else ("scales",)
        wanted |= {f"{name}.{part}": (rows, -(-columns // GROUP)) for part in parts}
    faults = [
        Fault(name, info.shape if info else None, f"must have the shape {wanted.get(name)}", _AGAIN)
        for name in sorted({*wanted, *weights.infos})
        if (info := weights.infos.get(name)) is None or tuple(info.shape) != wanted.get(name)
    ]
    if faults:
        raise CheckpointError(str(folder), faults)
    tensors = {name: weights.read(name) for name in wanted}
    kinds = {"codes": torch.uint8, "scales": torch.float16, "minimums": torch.float16}
    faults = [
        Fault(f"{name}.{part}", str(tensor.dtype).removeprefix("torch."), f"must be of {kinds[part]}", _AGAIN)
        for name in packed
        for part in kinds
        if (tensor := tensors.get(f"{name}.{part}")) is not None and tensor.dtype != kinds[part]
    ]
    if faults:
        raise CheckpointError(str(folder), faults)
    return {name: _matrix(name, shape[1], tensors) for name, shape in packed.items()}, tensors


def _matrix(name: str, columns: int, tensors: Mapping[str, Tensor]) -> PackedMatrix:
    codes, scales = (tensors[f"{name}.{part}"].numpy() for part in ("codes", "scales"))
    if (lowest := tensors.get(f"{name}.minimums")) is None:
        return PackedMatrix(codes.view(np.int8), scales)
    both = np.stack([codes & 15, codes >> 4], axis=-1).reshape(len(codes), -1)[:, :columns]
    return PackedMatrix(np.ascontiguousarray(both), scales, lowest.numpy())


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
