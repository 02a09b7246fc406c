"""stemma.json: all of a network but its weights, in our own words."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch

from stemma.checkpoints.architecture_json import decode_architecture, encode_architecture
from stemma.checkpoints.config import Facts
from stemma.checkpoints.safety import read_json
from stemma.checkpoints.stored import Stored
from stemma.errors import CheckpointError, Fault, SpecError
from stemma.families import family
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Family

OWN_FILE = "stemma.json"
"""Its name."""

_FORMAT = 1


class Own(NamedTuple):
    """What it tells: the family, all of the network, and facts for which config.json has no entry."""

    family: Family
    architecture: Architecture
    facts: Facts


def own_content(stored: Stored, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is written of a model.

    Args:
        stored: the model.
        facts: those that stand nowhere else.
    """
    return {
        "format": _FORMAT,
        "family": stored.family.name,
        "architecture": encode_architecture(stored.architecture),
        "facts": dict(facts),
        "versions": {"stemma": metadata.version("stemma-lm"), "torch": torch.__version__},
    }


def read_own(folder: Path) -> Own | None:
    """What a folder tells; None where the file is not there.

    Raises:
        CheckpointError: naming what in it cannot be read.
    """
    if not (folder / OWN_FILE).is_file():
        return None
    content = read_json(folder / OWN_FILE)
    if content.get("format") != _FORMAT:
        rule = f"must be {_FORMAT}"
        raise CheckpointError(OWN_FILE, Fault("format", content.get("format"), rule, "use the version that wrote it"))
    if not isinstance(facts := content.get("facts", {}), dict):
        raise CheckpointError(OWN_FILE, Fault("facts", facts, "must be an object", "save the model again"))
    try:
        return Own(family(str(content.get("family"))), decode_architecture(content.get("architecture")), facts)
    except SpecError as error:
        raise CheckpointError(OWN_FILE, error.faults) from None
