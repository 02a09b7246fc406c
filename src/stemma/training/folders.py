"""The network of a run as a folder: where it begins, and where it ends."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from stemma.checkpoints import Stored, locate, read_folder, read_gguf, write_folder
from stemma.checkpoints.atomic import new_folder
from stemma.checkpoints.safety import read_json
from stemma.checkpoints.weights import Weights, write_weights
from stemma.errors import CheckpointError, Fault
from stemma.families import closest, family
from stemma.nn import build
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Family, Shape
from stemma.spec.tasks import TaskHead
from stemma.training.codec import decode, encode
from stemma.training.network import Network

_LOG = logging.getLogger("stemma.training")
# Tells a network for which transformers has no class.
_FILE, _FACTS = "network.json", "facts"


def begin_network(model: str | Network | Shape, vocab_size: int, seed: int) -> Stored:
    """The network before the first step.

    Args:
        model: a checkpoint's name or folder, or what is built anew.
        vocab_size: of the tokenizer.
        seed: of the first values.

    Raises:
        StemmaError: a name that leads nowhere, a folder that holds no model, fields that break rules.
    """
    if isinstance(model, str):
        path = locate(model).path
        if (path / _FILE).is_file():
            return _read_own(path)
        return read_folder(path) if path.is_dir() else read_gguf(path)
    spec = model.spec(vocab_size) if isinstance(model, Network) else model
    made: Any = build(spec, seed=seed)
    return Stored(family(model.family) if isinstance(model, Network) else closest(spec), made)


def published(of: Family, spec: Shape) -> Shape:
    """The architecture without the heads that no class of transformers has, as long as another class is left."""
    if not isinstance(spec, Architecture) or of.checkpoint is None:
        return spec
    own = {type(head) for head in spec.heads}
    asked = {kind for kind in own if issubclass(kind, TaskHead)}
    kinds = [{type(head) for head in variant.heads} for variant in of.checkpoint.classes]
    kept = max((kind for kind in kinds if asked <= kind <= own), key=len, default=own)
    return spec.change(heads=tuple(head for head in spec.heads if type(head) in kept))


def write_model(stored: Stored, folder: Path, beside: Callable[[Path], None]) -> None:
    """Write a folder that `transformers` opens; or one from which runs go on, where it has no such network.

    Args:
        stored: what to write.
        folder: replaced where it stands.
        beside: writes further files into the folder that it is given.
    """
    spec: Shape = stored.architecture
    if (folder / _FILE).is_file():
        shutil.rmtree(folder)
    if isinstance(spec, Architecture):
        try:
            write_folder(stored, folder, overwrite=True, beside=beside)
            return
        except CheckpointError as error:
            _LOG.info("transformers has no such network, so that it is written as %s: %s", _FILE, error)
    with new_folder(folder) as partial:
        write_weights(((name, one.detach()) for name, one in stored.model.named_parameters()), partial)
        content = {**encode(replace(Network.of(spec), family=stored.family.name)), _FACTS: dict(stored.facts)}
        (partial / _FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        beside(partial)


def _read_own(folder: Path) -> Stored:
    faults: list[Fault] = []
    content = read_json(folder / _FILE)
    facts = content.pop(_FACTS, {})
    told = decode(Network, content, "", faults)
    if faults:
        raise CheckpointError(str(folder / _FILE), faults)
    model: Any = build(told.spec(0), seed=None)
    weights, parameters = Weights(folder, {}), dict(model.named_parameters())
    for name in {**parameters, **weights.infos}:
        held = weights.infos[name].shape if name in weights.infos else None
        wanted = tuple(parameters[name].shape) if name in parameters else None
        if held != wanted:
            faults.append(Fault(name, held, f"must have the shape {wanted}", "save the model again"))
    if faults:
        raise CheckpointError(str(folder), faults)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights.read(name))
    return Stored(family(told.family), model.eval(), facts)
