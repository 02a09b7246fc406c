"""Runs side by side, over or still going on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stemma.checkpoints.safety import read_json
from stemma.errors import CheckpointError, Fault, InputError, StemmaError
from stemma.training.codec import record
from stemma.training.finish import RECORD
from stemma.training.opening import LINES, RUN
from stemma.training.record import FORMAT, Record, finite
from stemma.training.toml import read_toml
from stemma.training.trackers import read_lines

_KEPT = ("family", "objectives", "parameters", "steps", "tokens", "tokens_per_second", "utilisation", "ended")
_TRIED = "held_out.loss."


def summaries(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """What is known of some runs.

    Args:
        folders: of the runs.

    Raises:
        InputError: naming each folder that holds no run, and what is amiss with the files of the others.
    """
    found, faults = [], []
    for folder in folders:
        if not (folder / RUN).is_file():
            remedy = "name the folder that a run file calls `folder`"
            faults.append(Fault("folder", str(folder), "holds no run", remedy))
            continue
        try:
            found.append(_over(folder) if (folder / RECORD).is_file() else _going_on(folder))
        except StemmaError as error:
            faults += [Fault(f"{folder}: {one.field}", one.value, one.rule, one.remedy) for one in error.faults]
    if faults:
        raise InputError("runs", faults)
    return found


def read_record(path: Path) -> Record:
    """The figures of a run that is over.

    Args:
        path: of the file.

    Raises:
        CheckpointError: naming all that is missing or wrong in it.
    """
    table, faults = read_json(path), list[Fault]()
    if table.get("format") != FORMAT:
        rule = f"must be {FORMAT}"
        raise CheckpointError(str(path), Fault("format", table.get("format"), rule, "use the version that wrote it"))
    found = record(Record, table, "", faults)
    if faults:
        raise CheckpointError(str(path), faults)
    assert isinstance(found, Record), "there are faults otherwise"
    return found


def _over(folder: Path) -> dict[str, Any]:
    known = read_record(folder / RECORD)
    return {
        "folder": str(folder),
        **{name: getattr(known, name) for name in _KEPT},
        "losses": {name: loss for name, loss in known.losses["held_out"].items() if name != "loss"},
        "baselines": {name: asdict(baseline) for name, baseline in known.baselines.items()},
    }


def _going_on(folder: Path) -> dict[str, Any]:
    run = read_toml(folder / RUN)
    model = run.get("model")
    known: dict[str, Any] = {}
    for line in read_lines(folder / LINES):
        known |= line
    return {
        "folder": str(folder),
        "family": model.get("family") if isinstance(model, dict) else model,
        "objectives": [one["name"] for one in run.get("objectives", ())],
        "parameters": None,
        "steps": known.get("step", 0),
        "tokens": known.get("tokens", 0),
        "tokens_per_second": known.get("tokens_per_second"),
        "utilisation": known.get("utilisation"),
        "ended": None,
        "losses": finite({name.removeprefix("held_out."): known[name] for name in known if name.startswith(_TRIED)}),
        "baselines": {},
    }
