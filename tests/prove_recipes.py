"""Train recipes to their end: left-to-right models must beat counted bigrams on held-out text, others counted unigrams.

Run as a program of its own: `python tests/prove_recipes.py gpt2 bert`, or with no name for all of them, one after the
other on one core. It prints a table and exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.stem for path in (ROOT / "recipes").glob("*.toml"))

# Terms whose targets follow all that was read, so that a bigram model knows no more than the network.
FOLLOWING = ("next", "before")
MOST_SECONDS = 600
LINE = "{:<9}{:>6}{:>7}  {:<11}{:>9}{:>9}{:>9}{:>8}  {}"


def train(name: str, folder: Path) -> dict[str, Any]:
    """The record of a recipe's run, and the seconds that it took of one core."""
    stemma = Path(sys.executable).with_name("stemma")
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [stemma, "pretrain", f"recipes/{name}.toml", "--folder", folder]
    subprocess.run(command, cwd=ROOT, env=alone, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {**record, "cpu_seconds": round(seconds, 1)}


def verdicts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Each term of a run that counting can be asked for, too, and whether the network did better."""
    found = []
    for term, counted in record["baselines"].items():
        held_out = record["losses"]["held_out"][f"loss.{term}"]
        bar = "bigram" if term.rsplit(".")[-1] in FOLLOWING else "unigram"
        met = held_out < counted[bar] and record["cpu_seconds"] < MOST_SECONDS
        found.append({"term": term, "held_out": held_out, **counted, "bar": bar, "met": met})
    return found


def main(names: list[str], figures: Path | None) -> bool:
    """Prove some recipes; whether all of them did what they should."""
    met = True
    print(LINE.format("recipe", "steps", "CPU s", "term", "held out", "unigram", "bigram", "of bar", ""))  # noqa: T201
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            record = train(name, Path(folder) / name)
        done = {key: record[key] for key in ("steps", "tokens", "cpu_seconds")}
        terms = verdicts(record)
        assert terms, f"{name}: no term has a baseline"
        for one in terms:
            losses = [f"{one[key]:.4f}" if one[key] else "" for key in ("held_out", "unigram", "bigram")]
            share, verdict = f"{one['held_out'] / one[one['bar']]:.3f}", "met" if one["met"] else "MISSED"
            what = name, record["steps"], f"{record['cpu_seconds']:.0f}", one["term"]
            print(LINE.format(*what, *losses, share, verdict), flush=True)  # noqa: T201
            met &= one["met"]
        if figures is not None:
            of = {"test": "tests/prove_recipes.py", "figure": name, "machine": record["machine"]["name"]}
            with figures.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({**of, **done, "terms": terms}) + "\n")
    return met


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    options.add_argument("--figures", type=Path, help="append a JSON line for each recipe to this file")
    asked = options.parse_args()
    if unknown := set(asked.names) - set(NAMES):
        options.error(f"no recipe: {', '.join(sorted(unknown))}")
    sys.exit(not main(asked.names or NAMES, asked.figures))
