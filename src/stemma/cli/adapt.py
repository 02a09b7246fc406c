"""`stemma adapt` and `stemma merge`: fit a checkpoint to a task from a run file, and make one model of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemma.cli import options
from stemma.cli.output import show, table
from stemma.cli.pretrain import INTERRUPTED, leads, misused, trackers
from stemma.errors import Fault

if TYPE_CHECKING:
    from rich.console import RenderableType

ADAPT_EXAMPLES = """Examples:

$ stemma adapt run.toml --set epochs=1 --set adaptations.0.rank=4 --folder runs/first

$ stemma adapt run.toml --seeds 0,1,2

$ stemma adapt --resume runs/first"""

MERGE_EXAMPLES = """Examples:

$ stemma merge runs/first --out runs/merged"""


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("adapt", epilog=ADAPT_EXAMPLES)(adapt)
    app.command("merge", epilog=MERGE_EXAMPLES)(merge)


def adapt(
    file: options.RunFile = None,
    resume: options.Resume = None,
    settings: options.Settings = None,
    folder: options.RunFolder = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="N,N,...", help="One run for each, and one table of them all.")
    ] = None,
    replay: Annotated[float | None, typer.Option("--replay", help="Old rows for each row of the task, 0 to 1.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="The .png file for what was learnt against what was forgotten.")
    ] = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Fit a checkpoint to a task as a run file says; a run that was stopped goes on from its newest checkpoint."""
    options.check("stemma adapt", _misused(file, resume, folder, seeds, plot, device))
    from stemma.training.run_file import read_as
    from stemma.tuning import Adapt
    from stemma.tuning.tables import row

    source = resume or file
    assert source is not None, "checked"
    asked = [*(settings or ()), *([] if replay is None else [f"replay={replay}"])]
    run = read_as(Adapt, source, asked, folder=resume or folder)
    runs = [run] if seeds is None else [run.with_seed(int(seed)) for seed in seeds.split(",")]
    results = []
    for one in runs:
        results.append(one.train(trackers(), device=device, resume=resume is not None))
        if results[-1].ended == "interrupted":
            typer.echo(f"interrupted; go on with: stemma adapt --resume {one.folder}", err=True)
            raise typer.Exit(INTERRUPTED)
    if not leads():
        return
    part = next((name for name in ("tested", "tried") if name in results[0].scores), None)
    summed = None if part is None else row(str(run.folder), results, run.task.measures, part)
    if plot is not None:
        from stemma.tuning.plots import plot_forgetting

        plot_forgetting(results, run.task.measures, plot)
    show({"runs": [result.as_dict() for result in results], "table": summed}, json, _draw)


def merge(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of a run whose adaptation stands alone.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write: a model that needs no other.")],
    json: options.Json = False,
) -> None:
    """Write a base with what was learnt for it as one model, which transformers opens too."""
    options.check("stemma merge", [options.fresh("--out", out)])
    from stemma.tuning.writing import merge_adapted

    merged = merge_adapted(run, out)
    show({"run": str(run), "out": str(out), "merged": merged}, json, _draw_merged)


def _misused(
    file: Path | None,
    resume: Path | None,
    folder: Path | None,
    seeds: str | None,
    plot: Path | None,
    device: str | None,
) -> Iterator[Fault | None]:
    yield from misused(file, resume, folder, device)
    if resume is not None and seeds is not None:
        yield Fault("--seeds", seeds, "is told by --resume already", "leave it out")
    if seeds is not None and not all(seed.strip().isdecimal() for seed in seeds.split(",")):
        yield Fault("--seeds", seeds, "must be whole numbers between commas", "write such as 0,1,2")
    if plot is not None:
        yield options.fresh("--plot", plot)


def _draw_merged(result: dict[str, Any]) -> list[str]:
    return [f"{result['out']}: {', '.join(result['merged']) or 'nothing to merge'}"]


def _draw(result: dict[str, Any]) -> Iterator[RenderableType]:
    titles = ("run", "part", "figure", "value#")
    yield table(titles, (row for one in result["runs"] for row in _figures(one)))
    if (summed := result["table"]) is not None:
        yield table(("over seeds", "mean#", "deviation#", "95% interval#", "forgotten, nats#"), [_over_seeds(summed)])


def _figures(one: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for part, figures in one["scores"].items():
        for name, value in figures.items():
            yield one["folder"], part, name, f"{value:.4f}"
    if (old := one["forgetting"]) is not None:
        yield one["folder"], "old text", f"{old['objective']} before", f"{old['before']:.4f}"
        yield one["folder"], "old text", f"{old['objective']} after", f"{old['after']:.4f}"
    yield one["folder"], "parameters", "trained of total", f"{one['trained']:,} of {one['total']:,}"


def _over_seeds(summed: dict[str, Any]) -> tuple[str, ...]:
    low, high = summed["interval"]
    deviation = "" if summed["deviation"] is None else f"{summed['deviation']:.4f}"
    lost = "" if summed["forgotten"] is None else f"{summed['forgotten']:.4f}"
    return summed["measure"], f"{summed['mean']:.4f}", deviation, f"{low:.4f} to {high:.4f}", lost
