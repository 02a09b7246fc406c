"""`stemma pretrain` and `stemma runs`: train from a run file, go on after a stop, and see runs side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemma.cli import options
from stemma.cli.output import show, table
from stemma.errors import Fault

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stemma.training import Tracker

PRETRAIN_EXAMPLES = """Examples:

$ stemma pretrain run.toml --set steps=200 --set optimiser.lr=1e-3 --folder runs/first

$ stemma pretrain --resume runs/first

$ torchrun --nproc-per-node 2 --no-python stemma pretrain run.toml"""

RUNS_EXAMPLES = """Examples:

$ stemma runs runs/first runs/second --plot runs.png"""

# As a shell has it for a command that a signal ended, and for one that failed by itself.
INTERRUPTED, STOPPED = 130, 1


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("pretrain", epilog=PRETRAIN_EXAMPLES)(pretrain)
    app.command("runs", epilog=RUNS_EXAMPLES)(runs)


def pretrain(
    file: options.RunFile = None,
    resume: options.Resume = None,
    settings: options.Settings = None,
    folder: options.RunFolder = None,
    device: options.Device = None,
    ray: Annotated[str | None, typer.Option("--ray", help="Address of a Ray cluster that tokenises.")] = None,
    json: options.Json = False,
) -> None:
    """Train as a run file says; a run that was stopped goes on where its newest checkpoint left it."""
    options.check("stemma pretrain", misused(file, resume, folder, device))
    from stemma.training import read_run
    from stemma.training.summary import summaries

    source = resume or file
    assert source is not None, "checked"
    asked = [*(settings or ()), *([] if ray is None else [f"ray={ray}"])]
    run = read_run(source, asked, folder=resume or folder)
    outcome = run.train(trackers(), device=device, resume=resume is not None)
    if leads() and outcome.ended != "interrupted":
        show(summaries([Path(run.folder)]), json, _draw)
    if outcome.ended == "interrupted":
        step, again = outcome.progress.step, f"stemma pretrain --resume {run.folder}"
        typer.echo(f"interrupted after step {step}; go on with: {again}", err=True)
        raise typer.Exit(INTERRUPTED)
    if outcome.ended == "stopped":
        typer.echo(f"stopped by a guard after step {outcome.progress.step}; see {run.folder}/run.jsonl", err=True)
        raise typer.Exit(STOPPED)


def runs(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Of runs.", show_default=False)],
    plot: Annotated[Path | None, typer.Option("--plot", help="The .png file to draw the curves of all in.")] = None,
    json: options.Json = False,
) -> None:
    """Show runs side by side: sizes, losses beside what counting reaches, speed."""
    options.check("stemma runs", [options.fresh("--plot", plot) if plot else None])
    from stemma.training import plot as draw
    from stemma.training.opening import LINES
    from stemma.training.summary import summaries

    found = summaries(folders)
    if plot is not None:
        draw({str(folder): folder / LINES for folder in folders}, plot)
    show(found, json, _draw)


def misused(file: Path | None, resume: Path | None, folder: Path | None, device: str | None) -> Iterator[Fault]:
    """What is wrong with the options of a command that carries out a run file."""
    if (file is None) == (resume is None):
        given = None if file is None else str(file)
        yield Fault("RUN.toml", given, "must be given, or else --resume", "name one of the two")
    if resume is not None and folder is not None:
        yield Fault("--folder", str(folder), "is told by --resume already", "leave it out")
    if device not in (None, "cpu", "cuda"):
        yield Fault("--device", device, "is unknown", "use cpu or cuda")


def leads() -> bool:
    """Whether this is the process of a run that speaks."""
    return os.environ.get("RANK", "0") == "0"


def trackers() -> Iterator[Tracker]:
    """The line that moves, on a terminal."""
    if sys.stderr.isatty() and leads():
        from stemma.training import ProgressLine

        yield ProgressLine()


def _draw(result: list[dict[str, Any]]) -> Iterator[RenderableType]:
    titles = ("run", "family", "objectives", "parameters#", "steps#", "tokens#", "tokens/s#", "of peak#", "ended")
    yield table(titles, (tuple(_facts(one)) for one in result))
    losses = ("run", "loss, in nats", "held out#", "unigram#", "bigram#")
    yield table(losses, (row for one in result for row in _losses(one)))


def _facts(one: dict[str, Any]) -> Iterator[str]:
    yield from (one["folder"], one["family"], "+".join(one["objectives"]))
    yield "" if one["parameters"] is None else f"{one['parameters']:,}"
    yield from (f"{one['steps']:,}", f"{one['tokens']:,}")
    yield "" if one["tokens_per_second"] is None else f"{one['tokens_per_second']:,.0f}"
    yield "" if one["utilisation"] is None else f"{one['utilisation']:.1%}"
    yield one["ended"] or "not yet"


def _losses(one: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, loss in one["losses"].items():
        term = name.removeprefix("loss.")
        counted = one["baselines"].get(term, {})
        figures = (loss, counted.get("unigram"), counted.get("bigram"))
        yield one["folder"], term, *("" if value is None else f"{value:.4f}" for value in figures)
