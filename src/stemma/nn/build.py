"""The network of any architecture, by the architecture's class."""

from __future__ import annotations

from typing import Any, overload

from stemma.nn.model import Model
from stemma.nn.recurrent import RecurrentModel
from stemma.spec.architecture import Architecture
from stemma.spec.recurrent import Recurrent


@overload
def build(architecture: Architecture, **options: Any) -> Model: ...
@overload
def build(architecture: Recurrent, **options: Any) -> RecurrentModel: ...
def build(architecture: Architecture | Recurrent, **options: Any) -> Model | RecurrentModel:
    """The network that an architecture describes.

    Args:
        architecture: of any shape.
        options: seed, dtype and device; see `Model`.
    """
    if isinstance(architecture, Recurrent):
        return RecurrentModel(architecture, **options)
    return Model(architecture, **options)
