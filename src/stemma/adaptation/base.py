"""By what a network is known again, whatever was added to it and whichever precision it is held in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from stemma.adaptation.changes import changes_of
from stemma.adaptation.places import body
from stemma.errors import Fault

# Of an architecture what changes no number of the body.
_APART = ("heads", "dropout", "initialisation")
# Of each tensor so many numbers are read.
_READ = 64
_REMEDY = "load the network that it was made for"


def describe(model: Any, besides: Collection[str]) -> dict[str, dict[str, str]]:
    """The architecture of a network's body, and a checksum of the beginning of each of its tensors.

    It is the same for copies in float32 and bfloat16: numbers are rounded first.

    Args:
        model: a `Model` or a `RecurrentModel`.
        besides: parameters that are not its own, but learned by what is to be saved.
    """
    spec = model.architecture
    told = {one.name: repr(getattr(spec, one.name)) for one in fields(spec) if one.name not in _APART}
    own = {path: tensor for path, tensor in _own(model).items() if path not in besides}
    return {"architecture": told, "tensors": {path: _checksum(tensor) for path, tensor in own.items()}}


def differing(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[Fault]:
    """In what a network differs from the one that something was saved for.

    Tensors that one of them lacks are passed over: maps that are held as integers are none.

    Args:
        here: what `describe` says of it.
        there: what it said of the other.
    """
    fields_here, fields_there = here["architecture"], there.get("architecture", {})
    sums_here, sums_there = here["tensors"], there.get("tensors", {})
    found = [
        Fault(f"base.{name}", told, f"must be {fields_there.get(name)}", _REMEDY)
        for name, told in fields_here.items()
        if told != fields_there.get(name)
    ]
    other = [path for path, told in sums_here.items() if sums_there.get(path, told) != told]
    if other and not found:
        rule = f"has other numbers than the base, as have {len(other)} tensors in all"
        found.append(Fault("base", other[0], rule, _REMEDY))
    return found


def _own(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network's body, without what was merged into them."""
    apart = {
        f"{path}.weight": held.own
        for path, module in model.named_modules()
        if (held := changes_of(module)) is not None and held.own is not None
    }
    own = {path: parameter.detach() for path, parameter in body(model).items() if not path.startswith("heads.")}
    return own | apart


def _checksum(tensor: Tensor) -> str:
    rounded = tensor.reshape(-1)[:_READ].to("cpu", torch.bfloat16)
    return f"{crc32(rounded.view(torch.int16).numpy().tobytes()):08x}"
