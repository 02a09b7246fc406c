"""Whether a model is its architecture and nothing beside it."""

from __future__ import annotations

from stemma.checkpoints.stored import Stored, shapes_of
from stemma.errors import Fault


def additions(stored: Stored) -> list[Fault]:
    """Parameters that the architecture does not have, such as an adaptation's, which other formats would lose."""
    own = shapes_of(stored.architecture)
    return [
        Fault(name, list(parameter.shape), "is no parameter of the architecture", "merge the adaptation first")
        for name, parameter in stored.model.named_parameters()
        if name not in own
    ]
