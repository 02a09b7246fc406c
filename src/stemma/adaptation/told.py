"""What a saved adaptation's file says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.catalogue import ADAPTATIONS
from stemma.errors import Fault

_FORMAT = 1
_AGAIN = "save the adaptation again"


@dataclass(frozen=True)
class Saved:
    """An adaptation with what belongs to it.

    Args:
        adaptation: the value.
        heads: of the task, whose parameters are saved too.
        facts: what else is told, such as the names of labels.
        base: what its network is known by.
    """

    adaptation: Adaptation
    heads: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    base: Mapping[str, Any] = field(default_factory=dict)


def tell(saved: Saved) -> dict[str, Any]:
    """It in values that JSON can hold."""
    return {
        "format": _FORMAT,
        "kind": saved.adaptation.kind,
        "values": asdict(saved.adaptation),
        "heads": list(saved.heads),
        "facts": dict(saved.facts),
        "base": saved.base,
        "versions": {"stemma": metadata.version("stemma-lm"), "torch": torch.__version__},
    }


def understand(told: Mapping[str, Any], faults: list[Fault]) -> Saved | None:
    """What `tell` told; where it has faults they are added, and None comes.

    Args:
        told: as the file has it.
        faults: found so far.
    """
    before = len(faults)
    kind, heads, base = told.get("kind"), told.get("heads"), told.get("base")
    named = isinstance(heads, list) and all(isinstance(head, str) for head in heads)
    rules = {
        "format": (told.get("format") == _FORMAT, f"must be {_FORMAT}"),
        "kind": (kind in ADAPTATIONS, f"must be one of {', '.join(ADAPTATIONS)}"),
        "heads": (named, "must be a list of names"),
        "facts": (isinstance(told.get("facts"), dict), "must be a table"),
        "base": (_describes(base), "must tell of the network"),
    }
    faults += [Fault(name, told.get(name), rule, _AGAIN) for name, (sound, rule) in rules.items() if not sound]
    adaptation = _value(ADAPTATIONS[str(kind)], told.get("values"), faults) if kind in ADAPTATIONS else None
    if adaptation is None or len(faults) > before:
        return None
    return Saved(adaptation, tuple(told["heads"]), told["facts"], told["base"])


def _describes(base: object) -> bool:
    return isinstance(base, dict) and all(isinstance(base.get(part), dict) for part in ("architecture", "tensors"))


def _value(kind: type[Adaptation], values: object, faults: list[Fault]) -> Adaptation | None:
    if not isinstance(values, dict):
        faults.append(Fault("values", values, "must be a table", _AGAIN))
        return None
    known = {one.name for one in fields(kind)}
    faults += [Fault(f"values.{name}", values[name], "is no field", _AGAIN) for name in values if name not in known]
    try:
        return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        for one in error.errors():
            place = ".".join(map(str, ("values", *one["loc"])))
            faults.append(Fault(place, one["input"], f"is wrong: {one['msg']}", _AGAIN))
        return None
