"""Which of their modules a configuration of theirs speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any


def targeted(config: Mapping[str, Any], names: Iterable[str], outputs: Iterable[str] = ()) -> list[str]:
    """The linear maps that are adapted.

    Args:
        config: names them whole or by their ends in a list, by a regular expression, or as "all-linear".
        names: of all linear maps.
        outputs: those of them that "all-linear" passes over.
    """
    wanted, excluded, passed = config.get("target_modules") or [], config.get("exclude_modules") or [], set(outputs)
    if wanted == "all-linear":
        return [name for name in names if name not in passed and not _named(name, excluded)]
    return [
        name
        for name in names
        if _named(name, wanted)
        and not _named(name, excluded)
        and not kept(name, config)
        and (isinstance(wanted, str) or _in_layers(name, config))
    ]


def kept(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a module or a tensor is among those that are saved whole."""
    return any(re.match(rf"(^|.*\.){module}($|\..*)", name) for module in config.get("modules_to_save") or [])


def pattern_value(config: Mapping[str, Any], pattern: str, usual: str, name: str) -> Any:
    """What the first pattern that fits a module says of it.

    Args:
        config: theirs.
        pattern: the table of patterns.
        usual: the entry for modules that none fits.
        name: of the module.
    """
    for key, value in (config.get(pattern) or {}).items():
        if re.match(rf"(.*\.)?({key})$", name):
            return value
    return config.get(usual)


def _named(name: str, wanted: str | list[str]) -> bool:
    if isinstance(wanted, str):
        return re.fullmatch(wanted, name) is not None
    return any(name == end or name.endswith(f".{end}") for end in wanted)


def _in_layers(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a module lies in one of the layers that are named, where any are."""
    layers = config.get("layers_to_transform")
    if layers is None or layers == []:
        return True
    patterns = config.get("layers_pattern") or [r"[^.]*"]
    patterns = [patterns] if isinstance(patterns, str) else patterns
    found = (re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", name) for pattern in patterns)
    number = next((int(match[1]) for match in found if match), None)
    return number in ([layers] if isinstance(layers, int) else layers)
