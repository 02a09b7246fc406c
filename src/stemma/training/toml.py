"""Plain tables <-> TOML, which Python reads but does not write."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stemma.errors import Fault, InputError


def read_toml(file: Path) -> dict[str, Any]:
    """A TOML file as it is.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        raise InputError("run", Fault("file", str(file), rule, "name a run file, or the folder of a run")) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("run", Fault("file", str(file), f"is no TOML: {error}", "correct it")) from error


def write_toml(table: Mapping[str, Any]) -> str:
    """A table as a file: plain values first, then each table and each list of tables; what lies deeper is inline.

    None is written as false, as TOML has no other word for it.

    >>> print(write_toml({"clip": None, "model": {"heads": [{"kind": "Pooler"}]}, "steps": 3}), end="")
    clip = false
    steps = 3
    <BLANKLINE>
    [model]
    heads = [{kind = "Pooler"}]
    """
    return "".join(_lines(table))


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        if not (isinstance(value, dict) or _tables(value)):
            yield f"{_key(name)} = {_inline(value)}\n"
    for name, value in table.items():
        heading = f"[[{_key(name)}]]" if _tables(value) else f"[{_key(name)}]"
        for entries in value if _tables(value) else [value] if isinstance(value, dict) else []:
            yield f"\n{heading}\n"
            yield from (f"{_key(key)} = {_inline(entry)}\n" for key, entry in entries.items())


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)


def _inline(value: Any) -> str:
    match value:
        case None:
            return "false"
        case str():
            # A JSON string is a TOML string, but for the one control character that JSON lets through.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            return "{" + ", ".join(f"{_key(name)} = {_inline(entry)}" for name, entry in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case bool():
            return str(value).lower()
        case _:
            return repr(value)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _inline(name)
