"""A checkpoint's network, by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stemma.checkpoints import Stored
from stemma.nn import build
from stemma.spec.lineage import Family, Shape
from stemma.training.checkpoint import read_tensors, sizes


def export(
    checkpoint: Path,
    family: Family,
    architecture: Shape,
    *,
    averaged: bool = True,
    facts: Mapping[str, Any] | None = None,
    verified: bool = False,
) -> Stored:
    """The network of a checkpoint, whole in this process, however many trained it; `write_folder` takes it.

    Args:
        checkpoint: its folder.
        family: of the network.
        architecture: of the network.
        averaged: take the moving average, where one was kept.
        facts: entries of a configuration that change no logits.
        verified: the checkpoint is being written right now, and has no hashes yet.

    Raises:
        CheckpointError: it is damaged, or holds another network.
    """
    model: Any = build(architecture, seed=None)
    held = sizes(checkpoint)
    into = {}
    for name, parameter in model.named_parameters():
        average = f"average.model.{name}"
        into[average if averaged and average in held else f"weights.model.{name}"] = parameter.detach()
    read_tensors(checkpoint, into, verified=verified)
    return Stored(family, model.eval(), facts or {})
