"""The dense layers of sentence-transformers that follow pooling, with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stemma.checkpoints.modules import REMEDY, Module, read_modules
from stemma.checkpoints.weights import Weights, write_weights
from stemma.errors import CheckpointError, Fault
from stemma.nn.pooling import Projections
from stemma.spec.pooling import Pooling, Projection, ProjectionActivation

# The classes by which they name activations.
_CLASSES: Mapping[ProjectionActivation, str] = {
    "none": "torch.nn.modules.linear.Identity",
    "tanh": "torch.nn.modules.activation.Tanh",
    "relu": "torch.nn.modules.activation.ReLU",
    "gelu": "torch.nn.modules.activation.GELU",
    "silu": "torch.nn.modules.activation.SiLU",
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
}
_NAMES: Mapping[object, ProjectionActivation] = {theirs: ours for ours, theirs in _CLASSES.items()}
_KNOWN = ("in_features", "out_features", "bias", "activation_function", "use_residual")
_PREFIX = "linear."


def read_projection(module: Module, faults: list[Fault]) -> Projection:
    """What a module's config.json asks for; faults are added."""
    held, name = module.settings(_KNOWN, faults), module.folder.name
    for size in ("in_features", "out_features"):
        if type(held.get(size)) is not int or held[size] < 1:
            rule = "must be a whole number of at least 1"
            faults.append(Fault(f"{name}.{size}", held.get(size), rule, "save the model again"))
    activation = held.get("activation_function", _CLASSES["tanh"])
    if activation not in _NAMES:
        rule = f"must be one of {', '.join(_NAMES.values())}, as a class of torch.nn"
        faults.append(Fault(f"{name}.activation_function", activation, rule, REMEDY))
    if held.get("use_residual"):
        faults.append(Fault(f"{name}.use_residual", True, "adds what is read", REMEDY))
    widths = (held.get("in_features", 0), held.get("out_features", 0))
    return Projection(*widths, bool(held.get("bias", True)), _NAMES.get(activation, "tanh"))


def projection_settings(layer: Projection) -> dict[str, Any]:
    """The same as they write it."""
    values = (layer.d_in, layer.d_out, layer.bias, _CLASSES[layer.activation])
    return dict(zip(_KNOWN, values, strict=False))


def read_projections(folder: Path, pooling: Pooling, *, allow_pickle: bool = False) -> Projections:
    """The tensors of a folder's dense layers.

    Args:
        folder: from which the pooling was read.
        pooling: says what they must be.
        allow_pickle: read pytorch_model.bin where there is no safetensors file; by `weights_only` alone.

    Raises:
        CheckpointError: naming every tensor that is missing, too many or of another shape.
    """
    modules = [module for module in read_modules(folder) if module.kind == "Dense"]
    faults: list[Fault] = []
    read = []
    for module, layer in zip(modules, pooling.projections, strict=True):
        weights = Weights(module.folder, {}, allow_pickle=allow_pickle)
        held = {name: info.shape for name, info in weights.infos.items()}
        asked = {_PREFIX + name: shape for name, shape in layer.shapes().items()}
        name = module.folder.name
        for key in sorted(asked.keys() | held.keys()):
            if key not in held:
                faults.append(Fault(f"{name}.{key}", None, "is missing", "save the model again"))
            elif key not in asked:
                faults.append(Fault(f"{name}.{key}", held[key], "belongs to no part of the layer", "remove it"))
            elif held[key] != asked[key]:
                faults.append(Fault(f"{name}.{key}", held[key], f"must be {asked[key]}", "correct config.json"))
        if not faults:
            read.append({key.removeprefix(_PREFIX): weights.read(key) for key in asked})
    if faults:
        raise CheckpointError(str(folder), faults)
    return read


def write_projections(projections: Projections, folder: Path) -> None:
    """Write the tensors into the folders that `write_pooling` has made.

    Args:
        projections: of each layer in order.
        folder: of the model.
    """
    modules = [module for module in read_modules(folder) if module.kind == "Dense"]
    for module, tensors in zip(modules, projections, strict=True):
        write_weights(((_PREFIX + name, tensor.contiguous()) for name, tensor in tensors.items()), module.folder)
