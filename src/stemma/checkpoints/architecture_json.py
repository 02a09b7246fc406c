"""An architecture as JSON: every part is an object with its class's name as "kind"."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from stemma.errors import CheckpointError, Fault, SpecError
from stemma.spec import ends, parts, training
from stemma.spec.architecture import FIELDS, Architecture

_PARTS: Mapping[str, Any] = {
    name: kind
    for module in (parts, ends, training)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and is_dataclass(kind)
}


def encode_architecture(architecture: Architecture) -> dict[str, Any]:
    """The architecture in values that JSON can hold.

    >>> from stemma.spec.parts import Rotary
    >>> small = Architecture(n_layers=1, d_model=8, n_heads=2, vocab_size=9, position=Rotary(500.0))
    >>> encode_architecture(small)["position"]
    {'kind': 'Rotary', 'base': 500.0, 'fraction': 1.0, 'layout': 'halves'}
    >>> decode_architecture(encode_architecture(small)) == small
    True
    """
    return {name: _encode(getattr(architecture, name)) for name in FIELDS}


def decode_architecture(values: object) -> Architecture:
    """The architecture that `encode_architecture` wrote.

    Raises:
        CheckpointError: naming every unknown or missing name and every value of the wrong type.
    """
    faults: list[Fault] = []
    decoded = _entries("architecture", values, FIELDS, faults)
    scale = decoded.get("attention_scale")
    if not _fits(float | None, scale):
        faults.append(Fault("architecture.attention_scale", scale, "must be a finite number or null", "correct it"))
    if faults:
        raise CheckpointError("stemma.json", faults)
    try:
        return Architecture(**decoded)
    except SpecError as error:
        raise CheckpointError("stemma.json", error.faults) from None


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        return {"kind": type(value).__name__} | {
            field.name: _encode(getattr(value, field.name)) for field in fields(value)
        }
    return [_encode(entry) for entry in value] if isinstance(value, tuple) else value


def _decode(path: str, value: object, faults: list[Fault]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(f"{path}[{place}]", entry, faults) for place, entry in enumerate(value))
    if not isinstance(value, dict):
        return value
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _PARTS:
        faults.append(Fault(f"{path}.kind", kind, "is no part of an architecture", f"use one of {', '.join(_PARTS)}"))
        return None
    hints = get_type_hints(_PARTS[kind])
    known = [field.name for field in fields(_PARTS[kind])]
    before = len(faults)
    decoded = _entries(path, {name: entry for name, entry in value.items() if name != "kind"}, known, faults)
    faults += [
        Fault(f"{path}.{name}", entry, f"must be {hints[name]}", "correct the value")
        for name, entry in decoded.items()
        if not _fits(hints[name], entry)
    ]
    return _PARTS[kind](**decoded) if len(faults) == before else None


def _entries(path: str, values: object, known: Iterable[str], faults: list[Fault]) -> dict[str, Any]:
    """The decoded values of the known names; unknown and missing ones are faults."""
    if not isinstance(values, dict):
        faults.append(Fault(path, values, "must be an object", "save the model again"))
        return {}
    known = list(known)
    unknown = [name for name in values if name not in known]
    faults += [Fault(f"{path}.{name}", values[name], "is no field", f"use {', '.join(known)}") for name in unknown]
    missing = [name for name in known if name not in values]
    faults += [Fault(f"{path}.{name}", None, "is missing", "save the model again") for name in missing]
    return {name: _decode(f"{path}.{name}", value, faults) for name, value in values.items() if name in known}


def _fits(hint: Any, value: object) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if isinstance(hint, UnionType):
        return any(_fits(choice, value) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(get_args(hint)[0], entry) for entry in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is hint
