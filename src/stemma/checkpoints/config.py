"""The tables of configuration rules, run in both directions: their entries to an architecture and back."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from fnmatch import fnmatch
from typing import Any

from stemma.checkpoints.inert import INERT, MET_ANEW
from stemma.checkpoints.labels import COUNT, NAMES, PLACES, label_entries, label_faults, n_labels
from stemma.checkpoints.nests import flatten, leaf, nested, nests
from stemma.errors import CheckpointError, Fault, SpecError
from stemma.spec.architecture import SIZE_FIELDS, Architecture
from stemma.spec.ends import Head
from stemma.spec.lineage import Family
from stemma.spec.mapping import REQUIRED, ConfigRule, Constant, Fact, Key, Labels

Facts = dict[str, Any]
_TRAINING_ONLY = ("dropout", "initialisation")


def read_config(
    config: Mapping[str, Any],
    rules: Sequence[ConfigRule],
    family: Family,
    heads: tuple[Head, ...],
    *,
    given: Mapping[str, Any] | None = None,
    ignore: Collection[str] = (),
) -> tuple[Architecture, Facts]:
    """An architecture out of their configuration.

    Args:
        config: their entries.
        rules: the family's table.
        family: gives what the configuration does not speak of.
        heads: those of their class.
        given: fields that are known from elsewhere.
        ignore: patterns of keys to pass over.

    Returns:
        The architecture, and what is only kept to be written back.

    Raises:
        CheckpointError: naming every unknown, missing, contradictory and impossible entry.
    """
    flat = {name: value for name, value in flatten(config, nests(rules)).items() if not _listed(name, ignore)}
    base: dict[str, Any] = {**family.traits, "heads": heads}
    reader = _Reader(flat, base)
    for rule in rules:
        match rule:
            case Key():
                reader.key(rule)
            case Constant():
                reader.constant(rule)
            case Fact():
                reader.fact(rule.theirs)
            case Labels():
                reader.labels(rule)
    reader.rest()
    if reader.faults:
        raise CheckpointError("config", reader.faults)
    try:
        return Architecture(**_assigned(base, {**reader.values(), **(given or {})})), reader.facts
    except SpecError as error:
        raise CheckpointError("config", error.faults) from None


def write_config(
    architecture: Architecture,
    rules: Sequence[ConfigRule],
    family: Family,
    heads: tuple[Head, ...],
    facts: Mapping[str, Any],
    *,
    kept: Collection[str] = (),
) -> dict[str, Any]:
    """Their configuration out of an architecture.

    Args:
        architecture: what is written.
        rules: the family's table.
        family: gives what the configuration does not speak of.
        heads: those of their class.
        facts: what was kept when the configuration was read.
        kept: paths that are told elsewhere, such as by the presence of a tensor.

    Raises:
        CheckpointError: naming every field that changes logits and that reading the result would not give back.
    """
    own = vars(architecture)
    flat: dict[str, Any] = {}
    faults = []
    for rule in rules:
        match rule:
            case Key():
                held = [value for path in rule.paths if (value := _get(own, path)) is not _ABSENT]
                if rule.null is not None and _get(own, rule.null[0]) == rule.null[1]:
                    flat[rule.theirs] = None
                elif held == [0] and (rule.same_as or rule.zero is not None):
                    flat[rule.theirs] = flat[rule.same_as] if rule.same_as else rule.zero
                elif held and (theirs := _inverse(rule, held[0], own)) is not _ABSENT:
                    flat[rule.theirs] = theirs
                elif held:
                    known = " or ".join(dict.fromkeys(map(repr, (rule.values or {}).values())))
                    faults.append(Fault(rule.paths[0], held[0], f"has no name in {rule.theirs}", f"use {known}"))
                elif rule.default is not REQUIRED and facts.get(rule.theirs, rule.default) is not None:
                    flat[rule.theirs] = facts.get(rule.theirs, rule.default)
            case Constant(written=True):
                flat[rule.theirs] = rule.value
            case Fact() if rule.theirs in facts or rule.default is not None:
                flat[rule.theirs] = facts.get(rule.theirs, rule.default)
            case Labels():
                count = _get(own, rule.ours)
                flat |= label_entries(facts.get(NAMES), count)
                if len(flat[NAMES]) != count:
                    faults.append(Fault(NAMES, flat[NAMES], f"must name {count} classes", "name each class once"))
    if faults:
        raise CheckpointError("config", faults)
    flat |= {name: value for name, value in facts.items() if leaf(name) in INERT and name not in flat}
    _prove(architecture, flat, rules, family, heads, kept)
    return nested(flat)


def differences(first: Architecture, second: Architecture) -> list[tuple[str, Any, Any]]:
    """Each path at which two architectures differ, with both values; of two classes not their fields besides."""
    left, right = _paths(first), _paths(second)
    differing = {path for path in {**left, **right} if left.get(path) != right.get(path)}
    return [
        (path, left.get(path), right.get(path))
        for path in {**left, **right}
        if path in differing and path.rpartition(".")[0] not in differing
    ]


def _prove(
    architecture: Architecture,
    flat: Mapping[str, Any],
    rules: Sequence[ConfigRule],
    family: Family,
    heads: tuple[Head, ...],
    kept: Collection[str],
) -> None:
    """Read what was written and compare."""
    try:
        again, _ = read_config(flat, rules, family, heads)
    except CheckpointError as error:
        raise CheckpointError(f"{family.name}: config", error.faults) from None
    found = [
        Fault(path, mine, f"cannot be told in this format, which means {theirs!r}", "save as another family")
        for path, mine, theirs in differences(architecture, again)
        if path not in kept and path.split(".")[0] not in _TRAINING_ONLY
    ]
    if found:
        raise CheckpointError(f"{family.name}: config", found)


class _Reader:
    """Collects values, facts and faults while the rules are walked."""

    def __init__(self, flat: Mapping[str, Any], base: Mapping[str, Any]) -> None:
        self.flat = flat
        self.base = base
        self.facts: Facts = {}
        self.faults = [
            Fault(name, value, "must be a finite number", "write a number")
            for name, value in flat.items()
            if _odd(value)
        ]
        self._met: set[str] = {fault.field for fault in self.faults}
        self._found: dict[str, tuple[str, Any]] = {}

    def key(self, rule: Key) -> None:
        names = [name for name in (*rule.also, rule.theirs) if self.flat.get(name) is not None]
        faulty = self._met & set(names)
        self._met.update((*rule.also, rule.theirs))
        if faulty:
            return
        name = names[0] if names else rule.theirs
        told_none = rule.null is not None and name in self.flat
        value = self.flat[name] if names else None if told_none else rule.default
        if rule.null is not None and value is None:
            path, meant = rule.null
            self._found[path] = (name, meant)
            return
        told_by_zero = self.flat.get(rule.same_as) if rule.same_as else rule.zero
        if told_by_zero is not None and value == told_by_zero:
            value = 0
        if value is REQUIRED:
            self.faults.append(Fault(name, None, "is missing", "the model cannot be built without it"))
            return
        paths = [path for path in rule.paths if _get(self.base, path) is not _ABSENT]
        if not paths:
            assert rule.paths[0].split(".")[0] in ("heads", "initialisation"), f"{rule.paths} is no field"
            self.facts |= {name: value} if names else {}
        elif value is not None:
            self._keep(rule, name, value, paths)

    def constant(self, rule: Constant) -> None:
        value = self.flat.get(rule.theirs, rule.value)
        self._met.add(rule.theirs)
        if value != rule.value and value not in rule.also:
            remedy = "use a model without it"
            self.faults.append(Fault(rule.theirs, value, f"must be {rule.value!r}: no other meaning is known", remedy))

    def fact(self, name: str) -> None:
        self._met.add(name)
        if name in self.flat:
            self.facts[name] = self.flat[name]

    def labels(self, rule: Labels) -> None:
        self._met.update((NAMES, PLACES, COUNT))
        if found := list(label_faults(self.flat)):
            self.faults += found
            return
        self._found[rule.ours] = (NAMES, n_labels(self.flat))
        self.fact(NAMES)

    def rest(self) -> None:
        """What no rule spoke of is either known to be harmless or an error."""
        for name, value in self.flat.items():
            last = leaf(name)
            if name in self._met or last in MET_ANEW or last.startswith("_"):
                continue
            if last in INERT:
                self.facts[name] = value
            else:
                remedy = f"pass ignore=({name!r},) where it changes nothing"
                self.faults.append(Fault(name, value, "is not known to this family", remedy))

    def values(self) -> dict[str, Any]:
        return {path: value for path, (_, value) in self._found.items()}

    def _keep(self, rule: Key, name: str, theirs: Any, paths: Iterable[str]) -> None:
        if rule.values is not None:
            if not isinstance(theirs, Hashable) or theirs not in rule.values:
                known = ", ".join(map(str, rule.values))
                self.faults.append(Fault(name, theirs, "is not known to this family", f"use one of {known}"))
                return
            theirs = rule.values[theirs]
        elif rule.plus and type(theirs) is int:
            theirs += rule.plus
        for path in paths:
            value = theirs if rule.values is not None else _typed(theirs, _get(self.base, path))
            if value is _ABSENT:
                kind = _kind(_get(self.base, path))
                self.faults.append(Fault(name, theirs, f"must be {kind}", "correct the configuration"))
                return
            other, before = self._found.setdefault(path, (name, value))
            if before != value:
                rule_broken = f"contradicts {other}={before!r}"
                self.faults.append(Fault(name, value, rule_broken, f"both are {path}: make them equal"))


_ABSENT: Any = object()


def _get(values: Mapping[str, Any], path: str) -> Any:
    """The value at a path, or _ABSENT where the part there has no such field."""
    first, *rest = path.split(".")
    value = values.get(first, 0 if first in SIZE_FIELDS else _ABSENT)
    if first == "heads":
        value = next((head for head in value if head.name == rest[0]), _ABSENT)
        rest = rest[1:]
    for name in rest:
        value = getattr(value, name, _ABSENT)
    return value


def _assigned(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with each value put at its path, whole fields first."""
    result = dict(base)
    for path, value in sorted(values.items(), key=lambda item: item[0].count(".")):
        first, *rest = path.split(".")
        if not rest:
            result[first] = value
        elif first == "heads":
            name, field = rest
            result["heads"] = tuple(replace(h, **{field: value}) if h.name == name else h for h in result["heads"])
        else:
            result[first] = replace(result[first], **{rest[0]: value})
    return result


def _paths(architecture: Architecture) -> dict[str, Any]:
    """Every path of an architecture and its value; a part's own path holds its class's name."""
    found: dict[str, Any] = {}
    for name, value in vars(architecture).items():
        parts = {f"heads.{head.name}": head for head in value} if name == "heads" else {name: value}
        for path, part in parts.items():
            if is_dataclass(part):
                found[path] = type(part).__name__
                found |= {f"{path}.{field.name}": getattr(part, field.name) for field in fields(part)}
            else:
                found[path] = part
    return found


def _inverse(rule: Key, ours: Any, own: Mapping[str, Any]) -> Any:
    if rule.values is None:
        return ours - rule.plus if rule.plus else ours
    if rule.ours == "n_kv_heads" and ours == own["n_heads"]:
        ours = 0  # as many as there are query heads: a size that was derived
    equal = [theirs for theirs, value in rule.values.items() if value == ours]
    # Other keys may tell the fields of a part of which this one tells the class.
    alike = [theirs for theirs, value in rule.values.items() if is_dataclass(ours) and type(value) is type(ours)]
    return equal[0] if equal else alike[0] if len(alike) == 1 else _ABSENT


def _typed(value: Any, like: Any) -> Any:
    """A value in the type of the field that it goes to, or _ABSENT where it is of another."""
    if isinstance(like, bool) or isinstance(value, bool):
        return value if isinstance(value, bool) and isinstance(like, bool) else _ABSENT
    if isinstance(like, float):
        return float(value) if isinstance(value, int | float) else _ABSENT
    return value if isinstance(value, int) else _ABSENT


def _kind(like: Any) -> str:
    return "true or false" if isinstance(like, bool) else "a number" if isinstance(like, float) else "a whole number"


def _odd(value: Any) -> bool:
    """Whether a NaN or an infinity stands anywhere in a value."""
    if isinstance(value, dict):
        return any(map(_odd, value.values()))
    if isinstance(value, list):
        return any(map(_odd, value))
    return isinstance(value, float) and not math.isfinite(value)


def _listed(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
