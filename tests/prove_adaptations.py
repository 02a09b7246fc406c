"""Carry out recipes of tuning runs: each must beat what is known without learning, in ten minutes of two cores.

Run as a program of its own: `python tests/prove_adaptations.py sst2 stsb`, or with no name for all of them. It prints a
table and exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# The figure of each, and what it must exceed: shares of the commonest class, span F1 of no span, MiniLM's cosines as
# shipped less what noise costs, chrF of the English text itself.
BARS = {
    "sst2": ("accuracy", 0.80),
    "mrpc": ("accuracy", 0.70),
    "wnut17": ("f1", 0.20),
    "stsb": ("spearman", 0.80),
    "multi30k": ("chrf", 20.0),
}
MOST_SECONDS = 600
LINE = "{:<10}{:>7}{:>9}  {:<10}{:>8}{:>8}{:>11}  {}"


def carry_out(name: str, folder: Path, settings: list[str]) -> dict[str, Any]:
    """The record of a recipe's run, and its seconds by the clock."""
    stemma = Path(sys.executable).with_name("stemma")
    changes = [part for setting in settings for part in ("--set", setting)]
    began = time.perf_counter()
    command = [stemma, "adapt", f"recipes/adapt/{name}.toml", "--folder", folder, "--json", *changes]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    (record,) = json.loads(done.stdout)["runs"]
    return {**record, "wall_seconds": time.perf_counter() - began}


def main(names: list[str], settings: list[str], figures: Path | None) -> bool:
    """Prove some recipes; whether all of them did what they should."""
    met = True
    print(LINE.format("recipe", "steps", "seconds", "figure", "found", "bar", "forgotten", ""))  # noqa: T201
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            record = carry_out(name, Path(folder) / name, settings)
        measure, bar = BARS[name]
        part = "tested" if "tested" in record["scores"] else "tried"
        found, old = record["scores"][part][measure], record["forgetting"]
        reached = found > bar and record["wall_seconds"] < MOST_SECONDS
        lost = "" if old is None else f"{old['after'] - old['before']:.4f}"
        what = name, record["steps"], f"{record['wall_seconds']:.0f}", f"{measure}"
        print(LINE.format(*what, f"{found:.4f}", bar, lost, "met" if reached else "MISSED"), flush=True)  # noqa: T201
        met &= reached
        if figures is not None:
            with figures.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"test": "tests/prove_adaptations.py", "figure": name, **record}) + "\n")
    return met


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BARS))
    options.add_argument("--set", action="append", default=[], dest="settings", help="in place of the files'")
    options.add_argument("--figures", type=Path, help="append a JSON line for each recipe to this file")
    asked = options.parse_args()
    if unknown := set(asked.names) - set(BARS):
        options.error(f"no recipe: {', '.join(sorted(unknown))}")
    sys.exit(not main(asked.names or list(BARS), asked.settings, asked.figures))
