"""Frozen values <-> plain tables, as a TOML file or a JSON file has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from stemma.adaptation import Adaptation
from stemma.adaptation.catalogue import ADAPTATIONS
from stemma.data import Files, Source, Texts
from stemma.errors import Fault, StemmaError
from stemma.families import family
from stemma.objectives import OBJECTIVES, Objective
from stemma.objectives.tasks import Task
from stemma.objectives.tasks.catalogue import TASKS
from stemma.spec.architecture import Architecture
from stemma.spec.recurrent import Recurrent
from stemma.training.corpora import CorpusFiles
from stemma.training.network import Network

Table = Mapping[str, Any]


def decode(hint: Any, value: Any, path: str, faults: list[Fault]) -> Any:
    """A value of a type out of tables, lists and plain values; where it has faults they are added, and None comes.

    A dataclass is a table; one of several is told by its class's name as "kind". An objective is told by its name, a
    network by its family. False stands for None, which TOML has not.

    Args:
        hint: the type.
        value: as the file has it.
        path: of the value in the file.
        faults: of all values so far.
    """
    members = _members(hint)
    tables = _tables(hint)
    if value in (False, None) and NoneType in members and bool not in members:
        return None
    if isinstance(value, dict) and tables:
        return _table(tables, value, path, faults)
    rows = [get_args(member)[0] for member in members if get_origin(member) in (tuple, Sequence)]
    if isinstance(value, list) and rows and _tables(rows[0]):
        return tuple(decode(rows[0], entry, f"{path}.{place}", faults) for place, entry in enumerate(value))
    plain = [member for member in members if member not in tables]
    if plain:
        return _plain(reduce(or_, plain), bool(tables), value, path, faults)
    faults.append(Fault(path, value, "must be a table", f"give the fields of {_names(tables)}"))
    return None


def record(kind: Any, table: Table, path: str, faults: list[Fault]) -> Any:
    """A dataclass out of a table of its fields; see `decode`.

    Args:
        kind: the class.
        table: of its fields.
        path: of the table in the file; empty for the whole.
        faults: of all values so far.
    """
    known, hints = {field.name: field for field in fields(kind)}, get_type_hints(kind)
    before = len(faults)
    given = entries(hints, known, table, path, faults)
    needed = [name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING]
    faults += [Fault(_join(path, name), None, "is missing", "give it") for name in needed if name not in table]
    # Made even where some fields are at fault, so that the rules that the others break are told at once.
    stand_ins = {name: _stand_in(hints[name]) for name in needed if name not in given}
    if None in stand_ins.values():
        return None
    doubtful = {*table, *needed} - set(given)
    try:
        made = kind(**stand_ins, **given)
    except StemmaError as error:
        broken = [one for one in error.faults if one.field.partition(".")[0] not in doubtful]
        faults += [Fault(_join(path, one.field), one.value, one.rule, one.remedy) for one in broken]
        return None
    return made if len(faults) == before else None


def entries(hints: Table, known: Mapping[str, Any], table: Table, path: str, faults: list[Fault]) -> dict[str, Any]:
    """The values of a table that have no faults.

    Args:
        hints: the type of each field.
        known: the fields; one whose default is a table is of that kind where it is not told.
        table: as the file has it.
        path: of the table in the file.
        faults: of all values so far.
    """
    found = {}
    for name, value in table.items():
        before, here = len(faults), _join(path, name)
        if name not in known:
            faults.append(Fault(here, value, "is no field", f"use one of {', '.join(known)}"))
            continue
        usual = getattr(known[name], "default", None)
        if isinstance(value, dict) and is_dataclass(usual):
            value = {**_label(usual), **value}
        decoded = decode(hints[name], value, here, faults)
        if len(faults) == before:
            found[name] = decoded
    return found


def encode(value: Any) -> Any:
    """The tables, lists and plain values that `decode` reads.

    >>> from stemma.training import Linear
    >>> encode(Linear(warmup=10))
    {'kind': 'Linear', 'warmup': 10, 'floor': 0.0}
    """
    if isinstance(value, Architecture | Recurrent):
        value = Network.of(value)
    if isinstance(value, Network):
        size = {} if value.size is None else {"size": value.size}
        return {"family": value.family, **size, **encode(value.changes)}
    if isinstance(value, Texts):
        # They are not in the file; what they are known by is, so that other ones are another run.
        return {"kind": "Texts", **encode(value.identity())}
    if is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        # What is None unless given need not be told; and a field of that name is more than the type's.
        unsaid = {field.name for field in fields(value) if held[field.name] is None and field.default is None}
        told = {name: entry for name, entry in _label(value).items() if name not in held}
        return told | {name: encode(entry) for name, entry in held.items() if name not in unsaid}
    if isinstance(value, Mapping):
        return {name: encode(entry) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return [encode(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


# By the type of a field; so large a number breaks no rule of the others.
_STAND_INS: Mapping[Any, Any] = {int: 1 << 30, float: 1.0, str: ""}


def _stand_in(hint: Any) -> Any:
    """A value for a field that has none; None where no plain one would do."""
    for member in _members(hint):
        if member in _STAND_INS:
            return _STAND_INS[member]
        if get_origin(member) in (tuple, Sequence):
            return ()
    return None


# Of these, which are told otherwise or are more than the type names: by which key, and the usual one.
_NAMED: Mapping[Any, tuple[str, Mapping[str, Any], str | None]] = {
    Objective: ("name", OBJECTIVES, None),
    Task: ("name", TASKS, None),
    Adaptation: ("kind", ADAPTATIONS, None),
    Source: ("kind", {"CorpusFiles": CorpusFiles, "Files": Files}, "CorpusFiles"),
}


def _table(kinds: Sequence[Any], value: dict[str, Any], path: str, faults: list[Fault]) -> Any:
    if Network in kinds:
        return _network(value, path, faults)
    if len(kinds) == 1 and "kind" in {field.name for field in fields(kinds[0])}:
        return record(kinds[0], value, path, faults)
    alone = kinds[0].__name__ if len(kinds) == 1 else None
    key, named, usual = _NAMED.get(kinds[0], ("kind", {kind.__name__: kind for kind in kinds}, alone))
    told = value.get(key, usual)
    if not isinstance(told, str) or told not in named:
        faults.append(Fault(_join(path, key), told, "is unknown", f"use one of {', '.join(named)}"))
        return None
    return record(named[told], {name: entry for name, entry in value.items() if name != key}, path, faults)


def _network(value: dict[str, Any], path: str, faults: list[Fault]) -> Network | None:
    """Of a family, whose fields are those of its architectures."""
    changes = {name: entry for name, entry in value.items() if name not in ("family", "size")}
    before = len(faults)
    of = decode(str, value.get("family", ""), _join(path, "family"), faults)
    size = decode(str | None, value.get("size"), _join(path, "size"), faults)
    if len(faults) > before:
        return None
    try:
        shape, made = family(of).shape, Network(of, size)
    except StemmaError as error:
        names = {"name": "family"}
        faults += [
            Fault(_join(path, names.get(one.field, one.field)), one.value, one.rule, one.remedy) for one in error.faults
        ]
        return None
    usual = {field.name: field for field in fields(shape)}
    given = entries(get_type_hints(shape), usual, changes, path, faults)
    return Network(made.family, made.size, given) if len(faults) == before else None


def _plain(hint: Any, or_table: bool, value: Any, path: str, faults: list[Fault]) -> Any:
    """A value without fields; a whole number is a number, and nothing else is turned into another type."""
    try:
        return TypeAdapter(hint).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        told = dict.fromkeys(one["msg"].removeprefix("Input ").replace("should", "must") for one in error.errors())
        faults.append(Fault(path, value, " or ".join([*told, *["a table"] * or_table]), "correct it"))
        return None


def _label(value: Any) -> dict[str, str]:
    """By what a table tells which of several it is."""
    if isinstance(value, Objective):
        return {"name": value.name}
    return {"kind": value.kind if isinstance(value, Adaptation) else type(value).__name__}


def _members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a type."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _tables(hint: Any) -> list[Any]:
    """Those of them that are tables in a file."""
    return [member for member in _members(hint) if is_dataclass(member)]


def _names(kinds: Sequence[Any]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
