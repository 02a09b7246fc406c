"""A model's card, filled in by the run that made the model (Mitchell et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from stemma.families import family
from stemma.families.records import metric
from stemma.spec.estimate import Plan
from stemma.training.progress import clock
from stemma.training.record import Record

if TYPE_CHECKING:
    from stemma.training.run import Run


def card(run: Run, record: Record, settings: str) -> str:
    """The card, as Markdown.

    Args:
        run: that made the model.
        record: its figures.
        settings: the run file.
    """
    parts = (_head(record), _losses(record), _data(run, record), _training(record))
    lines = [line for part in parts for line in part]
    return "\n".join([*lines, "## The run file", "", "```toml", settings.rstrip(), "```", ""])


def _head(record: Record) -> Iterator[str]:
    of = family(record.family)
    yield from ("---", "library_name: stemma", f"tags: [{', '.join((of.name, *record.objectives))}]", "---", "")
    yield from (f"# {of.name}, pretrained by {' and '.join(record.objectives)}", "")
    yield f"A network of {record.parameters:,} parameters in the manner of {of.paper} ({of.organisation}, {of.year}),"
    yield f"with a vocabulary of its kind: {record.tokenizer}. The weights are those after step {record.model_step:,}."
    yield from ("", "What it may be used for, and what it must not, is for whoever publishes it to say here.", "")


def _losses(record: Record) -> Iterator[str]:
    yield from ("## Losses, in nats", "")
    held_out = record.losses["held_out"]
    terms = record.losses["train"]
    rows = []
    for name in dict.fromkeys([*terms, *held_out]):
        told = record.baselines.get(name.removeprefix("loss."))
        counted = (told.unigram, told.bigram) if told else (None, None)
        rows.append((name, *(_figure(value) for value in (terms.get(name), held_out.get(name), *counted))))
    yield from _table(("", "training", "held out", "unigram", "bigram"), rows)
    yield "The unigram and bigram columns are what counting the training part reaches on the same held-out targets."
    yield ""


def _data(run: Run, record: Record) -> Iterator[str]:
    yield from ("## Data", "", f"Licence: {run.licence}.", "")
    rows = [(f"`{one.name}`", f"{one.documents:,}", f"{one.held_out:,}", f"{one.tokens:,}") for one in record.data]
    yield from _table(("corpus", "documents", "held out", "tokens"), rows)
    for one in record.data:
        yield f"- `{one.name}`: {one.report}"
    yield ""


def _training(record: Record) -> Iterator[str]:
    machine = record.machine
    flags = f" ({', '.join(machine.flags)})" if machine.flags else ""
    share = "unknown" if record.utilisation is None else f"{record.utilisation:.1%}"
    facts = {
        "steps": f"{record.steps:,} (ended: {record.ended})",
        "tokens": f"{record.tokens:,}",
        "epochs": ", ".join(f"{epochs:g}" for epochs in record.epochs),
        "time": clock(record.seconds),
        "tokens a second": f"{record.tokens_per_second:,.0f}",
        "operations": metric(record.flops, "FLOP"),
        "share of the machine's peak": share,
        "machine": f"{record.processes} x {machine.name}{flags}, {machine.units} at work",
        "energy, estimated": f"{metric(1000 * record.kilowatt_hours, 'Wh')}: {machine.watts:g} W, PUE {Plan.pue:g}",
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
    }
    yield from ("## Training", "")
    yield from _table(("", ""), facts.items())


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    titles = list(titles)
    yield f"| {' | '.join(titles)} |"
    yield f"|{' --- |' * len(titles)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
