"""The rules that a whole architecture obeys; every broken one is reported at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from stemma.errors import Fault
from stemma.spec.rules import rule_faults

if TYPE_CHECKING:
    from stemma.spec.architecture import Architecture

_SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_head", "d_ff", "vocab_size")
# Whole numbers below the sizes are at least 1, but for these.
_MAY_BE_NONE = ("segments", "languages", "tasks", "width", "early_width", "offset", "token", "n_highway")
_MAY_BE_NEGATIVE = ("layer",)


def faults_of(spec: Architecture, derived: frozenset[str] = frozenset()) -> list[Fault]:
    """Every rule that a spec breaks; those on whole specs are tried only on values of the right types.

    Args:
        spec: the architecture.
        derived: sizes that were not given but follow from others, which are blamed instead.
    """
    typed = [*_size_faults(spec, derived), *type_faults(spec)]
    return typed or list(rule_faults(spec, derived))


def _size_faults(spec: Architecture, derived: frozenset[str]) -> Iterator[Fault]:
    for name in _SIZES:
        value = getattr(spec, name)
        if name not in derived and (type(value) is not int or value < 1):
            yield Fault(name, value, "must be a whole number of at least 1", "give the size as a positive integer")
    if spec.d_head == 0 and type(spec.d_model) is type(spec.n_heads) is int and 0 < spec.d_model < spec.n_heads:
        rule = f"must be at least n_heads={spec.n_heads} where d_head is not given"
        yield Fault("d_model", spec.d_model, rule, "use fewer heads, or give d_head")


def type_faults(part: object, path: str = "") -> Iterator[Fault]:
    """Values not of the type that their field is declared with, or numbers too small, here and in the parts below."""
    hints = _hints(type(part))  # type: ignore[arg-type]  # a class has a hash, whatever its objects have
    for entry in fields(part):  # type: ignore[arg-type]
        name, value, hint = f"{path}{entry.name}", getattr(part, entry.name), hints[entry.name]
        if path == "" and entry.name in _SIZES:
            continue
        if not _fits(value, hint):
            yield Fault(name, value, f"must be {_words(hint)}", f"write {entry.name}={_example(hint)}")
            continue
        least = 0 if entry.name in _MAY_BE_NONE else 1
        if (
            type(value) is int
            and int in (hint, *get_args(hint))
            and value < least
            and entry.name not in _MAY_BE_NEGATIVE
        ):
            yield Fault(name, value, f"must be at least {least}", f"write {entry.name}={least} or more")
        for inner in value if isinstance(value, tuple) else (value,):
            if is_dataclass(inner):
                yield from type_faults(inner, f"{name}.{type(inner).__name__}." if inner is not value else f"{name}.")


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types that a class's fields are declared with, which cost more to find than all that follows."""
    return get_type_hints(kind)


def _fits(value: object, hint: object) -> bool:
    alternatives = get_args(hint)
    if get_origin(hint) is Literal:
        return value in alternatives
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(entry, alternatives[0]) for entry in value)
    if alternatives:
        return any(_fits(value, alternative) for alternative in alternatives)
    if hint is float:
        return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]
    return type(value) is hint


def _example(hint: object) -> str:
    first = get_args(hint)[0] if get_args(hint) else hint
    if get_origin(hint) is tuple:
        return f"({_example(first)},)"
    if is_dataclass(first) and isinstance(first, type):
        return f"{first.__name__}(...)"
    return {float: "1.0", int: "1", bool: "True"}.get(first, repr(first)) if isinstance(first, type) else repr(first)


def _words(hint: object) -> str:
    alternatives = get_args(hint)
    if get_origin(hint) is tuple:
        return f"a tuple of {_words(alternatives[0])}"
    if alternatives:
        return " or ".join(_words(alternative) for alternative in alternatives)
    if isinstance(hint, type):
        return {float: "a finite number", int: "a whole number", bool: "True or False"}.get(hint, hint.__name__)
    return repr(hint)
