"""Runs side by side, over or still going on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from stemma.checkpoints.safety import read_json
from stemma.errors import Fault, InputError
from stemma.training.finish import RECORD
from stemma.training.opening import LINES, RUN
from stemma.training.trackers import read_lines

_KEPT = ("family", "objectives", "parameters", "steps", "tokens", "tokens_per_second", "utilisation", "ended")
_TRIED = "held_out.loss"


def summary(folder: Path) -> dict[str, Any]:
    """What is known of a run: of its record, or of its lines where it is not over.

    Args:
        folder: of the run.

    Raises:
        InputError: no run has begun in it.
    """
    if not (folder / RUN).is_file():
        rule, remedy = "holds no run", "name the folder that a run file calls `folder`"
        raise InputError("runs", Fault("folder", str(folder), rule, remedy))
    if (folder / RECORD).is_file():
        record = read_json(folder / RECORD)
        terms = record["losses"]["held_out"]
        return {
            "folder": str(folder),
            **{name: record[name] for name in _KEPT},
            "losses": {name: value for name, value in terms.items() if name != "loss"},
            "baselines": record["baselines"],
        }
    table = tomllib.loads((folder / RUN).read_text(encoding="utf-8"))
    known: dict[str, Any] = {}
    for line in read_lines(folder / LINES):
        known |= line
    losses = {name.removeprefix("held_out."): known[name] for name in known if name.startswith(f"{_TRIED}.")}
    return {
        "folder": str(folder),
        "family": table["model"]["family"] if isinstance(table["model"], dict) else table["model"],
        "objectives": [one["name"] for one in table["objectives"]],
        "parameters": None,
        "steps": known.get("step", 0),
        "tokens": known.get("tokens", 0),
        "tokens_per_second": known.get("tokens_per_second"),
        "utilisation": known.get("utilisation"),
        "ended": None,
        "losses": losses,
        "baselines": {},
    }
