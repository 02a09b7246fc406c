"""A run as a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from stemma.errors import Fault, InputError
from stemma.training.codec import record
from stemma.training.opening import RUN
from stemma.training.run import Run
from stemma.training.toml import read_toml

Kind = TypeVar("Kind")


def read_run(path: str | Path, settings: Sequence[str] = (), *, folder: str | Path | None = None) -> Run:
    """The pretraining run that a file tells; see `read_as`."""
    return read_as(Run, path, settings, folder=folder)


def read_as(
    kind: type[Kind], path: str | Path, settings: Sequence[str] = (), *, folder: str | Path | None = None
) -> Kind:
    """The run that a file tells.

    Args:
        kind: the class of the run.
        path: of the file, or of the folder of a run that began.
        settings: such as "optimiser.lr=1e-3" or "objectives.0.rate=0.3", in place of the file's.
        folder: of the run, in place of the file's.

    Raises:
        InputError: naming every key that is unknown, missing or has a wrong value.
    """
    path = Path(path)
    file = path / RUN if path.is_dir() else path
    table, faults = read_toml(file), list[Fault]()
    for setting in settings:
        _set(table, setting, faults)
    if folder is not None:
        table["folder"] = str(folder)
    run = record(kind, table, "", faults)
    if faults:
        raise InputError(str(file), faults)
    assert isinstance(run, kind), "there are faults otherwise"
    return run


def _set(table: Any, setting: str, faults: list[Fault]) -> None:
    """Put a value where its path leads; tables on the way are made where there are none."""
    path, equals, text = setting.partition("=")
    if not equals:
        faults.append(Fault("--set", setting, "gives no value", "write KEY=VALUE"))
        return
    *way, last = path.strip().split(".")
    here = table
    try:
        for name in way:
            here = here[int(name)] if isinstance(here, list) else here.setdefault(name, {})
        here[int(last) if isinstance(here, list) else last] = _value(text.strip())
    except (AttributeError, IndexError, TypeError, ValueError):
        faults.append(Fault("--set", setting, "leads nowhere in the file", "name a key, such as optimiser.lr=1e-3"))


def _value(text: str) -> Any:
    """A TOML value, or else the text itself: so a name needs no quotation marks within those of a shell."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
