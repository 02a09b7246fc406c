"""Objects inside a configuration as dotted names, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from stemma.spec.mapping import ConfigRule, Key


def nests(rules: Sequence[ConfigRule]) -> set[str]:
    """Objects of their configuration into which the rules reach."""
    names = [name for rule in rules for name in (rule.theirs, *(rule.also if isinstance(rule, Key) else ()))]
    return {name[:place] for name in names for place, letter in enumerate(name) if letter == "."}


def flatten(config: Mapping[str, Any], objects: Collection[str], above: str = "") -> dict[str, Any]:
    """The entries with those of nested objects under dotted names; an empty nest says nothing.

    >>> flatten({"rope": {"theta": 5}, "width": 8}, {"rope"})
    {'rope.theta': 5, 'width': 8}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = above + key
        if name in objects and isinstance(value, dict):
            found |= flatten(value, objects, f"{name}.")
        elif name not in objects or value is not None:
            found[name] = value
    return found


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`.

    >>> nested({"rope.theta": 5, "width": 8})
    {'rope': {'theta': 5}, 'width': 8}
    """
    found: dict[str, Any] = {}
    for name, value in flat.items():
        *objects, key = name.split(".")
        place = found
        for one in objects:
            place = place.setdefault(one, {})
        place[key] = value
    return found


def leaf(name: str) -> str:
    """The last part of a dotted name.

    >>> leaf("rope.theta")
    'theta'
    """
    return name.rpartition(".")[2]
