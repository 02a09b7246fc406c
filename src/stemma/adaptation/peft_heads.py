"""Heads that PEFT saves whole beside an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from stemma.adaptation.attaching import of_heads
from stemma.adaptation.peft_names import Theirs
from stemma.adaptation.peft_targets import kept
from stemma.errors import Fault

_AGAIN = "correct modules_to_save, or save the adapter again"


def read_heads(
    config: Mapping[str, Any], tensors: dict[str, Tensor], names: Theirs, prefix: str, faults: list[Fault]
) -> dict[str, Tensor]:
    """Our parameters of the modules that were saved whole.

    Args:
        config: of the folder, that names them.
        tensors: of the folder; those of the heads are taken out.
        names: of the network's parts in theirs.
        prefix: what stands before the names of the heads.
        faults: found so far; those of the heads are added.
    """
    given = {
        key: tensors.pop(key) for key in list(tensors) if ".lora_" not in key and kept(key.removeprefix(prefix), config)
    }
    found: dict[str, Tensor] = {}
    for name, entry in names.entries.items():
        if not kept(name, config):
            continue
        tensor = given.pop(prefix + name, None)
        if tensor is None:
            faults.append(Fault(name, None, "is missing", f"its shape is {list(entry.shape)}; {_AGAIN}"))
        elif tuple(tensor.shape) != entry.shape:
            faults.append(Fault(name, list(tensor.shape), f"must have shape {list(entry.shape)}", _AGAIN))
        else:
            found |= dict(entry.read(tensor))
    faults += [
        Fault(key, list(tensor.shape), "is the parameter of no head of this network", "give the network the head")
        for key, tensor in given.items()
    ]
    return found


def write_heads(model: Any, heads: Sequence[str], names: Theirs, prefix: str) -> tuple[list[str], dict[str, Tensor]]:
    """The names of the modules that hold these heads, and their tensors.

    Args:
        model: the network.
        heads: ours.
        names: of the network's parts in theirs.
        prefix: as in `read_heads`.
    """
    wanted, parameters = set(of_heads(model, heads)), dict(model.named_parameters())
    entries = [entry for entry in names.entries.values() if set(entry.ours) <= wanted]
    tensors = {
        prefix + entry.theirs: entry.write({ours: parameters[ours].detach().cpu() for ours in entry.ours}).clone()
        for entry in entries
    }
    return list(dict.fromkeys(entry.theirs.partition(".")[0] for entry in entries)), tensors
