"""`stemma card` and `stemma estimate`: what a family is and what it takes, by arithmetic alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stemma.cli import options
from stemma.cli.lineage import Target, find
from stemma.cli.output import show, table
from stemma.errors import Fault, InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

CARD_EXAMPLES = """Examples:

$ stemma card gpt2

$ stemma card llama:65B --json"""

ESTIMATE_EXAMPLES = """Examples:

$ stemma estimate llama:65B --tokens 1.4e12 --devices 2048 --utilisation 0.5

$ stemma estimate gpt2:117M --tokens 1e6 --device cpu-2-cores --json"""

NUMBERS = {
    "parameters": "",
    "weight_bytes": "B",
    "forward_flops_per_token": "FLOP",
    "training_flops_per_token": "FLOP",
    "cache_bytes_per_token": "B",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("card", epilog=CARD_EXAMPLES)(card)
    app.command("estimate", epilog=ESTIMATE_EXAMPLES)(estimate)


def card(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="A family, or FAMILY:SIZE.", show_default=False)],
    dtype: Annotated[
        Literal["bfloat16", "float16", "float32"], typer.Option("--dtype", help="Of weights and cache.")
    ] = "bfloat16",
    json: options.Json = False,
) -> None:
    """Show a family's facts, and what each size costs: parameters, operations and bytes a token."""
    from stemma.families.records import card as record

    found = find("FAMILY", family)
    options.check("stemma card", [found] if isinstance(found, Fault) else [])
    assert isinstance(found, Target)
    show(record(*found, dtype=dtype), json, _draw_card)


def estimate(
    family: Annotated[str, typer.Argument(metavar="FAMILY:SIZE", help="A published size.", show_default=False)],
    tokens: Annotated[float, typer.Option("--tokens", help="To train on, such as 300e9.", show_default=False)],
    device: Annotated[str, typer.Option("--device", help="A name in the table of devices.")] = "A100-80GB",
    devices: Annotated[int, typer.Option("--devices", help="How many of them work together.")] = 1,
    batch: Annotated[int, typer.Option("--batch", help="Sequences that each device holds at once.")] = 1,
    length: Annotated[int | None, typer.Option("--length", help="Tokens of a sequence; the family's context.")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="Of weights and products; the device's fastest.")] = "",
    utilisation: Annotated[float, typer.Option("--utilisation", help="Share of the peak that is reached.")] = 0.4,
    carbon: Annotated[float, typer.Option("--carbon", help="Grams of CO2 equivalent a kilowatt-hour.")] = 385.0,
    pue: Annotated[float, typer.Option("--pue", help="Energy of the data centre over that of the devices.")] = 1.1,
    json: options.Json = False,
) -> None:
    """Estimate memory, operations, time, energy and CO2 of training and running a size, with every assumption."""
    from stemma.families.records import USUAL_LENGTH
    from stemma.spec.estimate import Plan
    from stemma.spec.estimate import estimate as estimated

    found = find("FAMILY:SIZE", family)
    faults = [found] if isinstance(found, Fault) else list(_unfit(family, found))
    context = None if isinstance(found, Fault) else found.family.context
    record: dict[str, Any] = {}
    try:
        plan = Plan(
            tokens=int(tokens) if tokens.is_integer() else tokens,  # type: ignore[arg-type]  # which the plan refuses
            length=(context or USUAL_LENGTH) if length is None else length,
            device=device,
            devices=devices,
            batch=batch,
            dtype=dtype,
            utilisation=utilisation,
            carbon=carbon,
            pue=pue,
        )
        if isinstance(found, Target) and not faults:
            architecture = found.family.build(found.size)
            record = {"model": family, "plan": asdict(plan), **asdict(estimated(architecture, plan))}
    except InputError as error:
        faults += [replace(fault, field=f"--{fault.field}") for fault in error.faults]
    options.check("stemma estimate", faults)
    show(record, json, _draw_estimate)


def _unfit(text: str, found: Target) -> Iterator[Fault]:
    """Why a family that is there cannot be estimated."""
    family = found.family
    if family.kind == "recurrent":
        remedy = f"see stemma card {family.name}"
        yield Fault("FAMILY:SIZE", text, "is recurrent, and only attention's memory is estimated", remedy)
    elif found.size is None:
        choices = " or ".join(f"{family.name}:{size}" for size in family.sizes)
        yield Fault("FAMILY:SIZE", text, "names no size", f"use {choices}")


def _draw_card(record: dict[str, Any]) -> Iterator[RenderableType]:
    from stemma.families.records import human, metric

    facts = {**record, "lineage": " < ".join(record["lineage"])}
    sizes = facts.pop("sizes")
    name, length, dtype = facts.pop("family"), facts.pop("length"), facts.pop("dtype")
    yield table(("family", name), facts.items())
    titles = ("size", "parameters#", "", f"{dtype}#", "forward#", "training#", "cache#")
    rows = (
        (
            size,
            f"{costs['parameters']:,}",
            human(costs["parameters"]),
            *(metric(costs[number], unit) for number, unit in NUMBERS.items() if unit),
        )
        for size, costs in sizes.items()
    )
    yield table(titles, rows, title=f"Operations and cache a token, in sequences of {length:,}")
    parts = dict.fromkeys(part for costs in sizes.values() for part in costs["parameters_by_part"])
    counts = ((part, *(_count(costs["parameters_by_part"].get(part, 0)) for costs in sizes.values())) for part in parts)
    yield table(("parameters of", *(f"{size}#" for size in sizes)), counts)


def _count(number: int) -> str:
    from stemma.families.records import human

    return human(number) if number else ""


def _draw_estimate(record: dict[str, Any]) -> Iterator[RenderableType]:
    from stemma.families.records import human, metric

    plan, training, inference = record["plan"], record["training"], record["inference"]
    footprint, decoded = training["footprint"], inference["decode_tokens_per_second"]
    yield table(
        (record["model"], f"{human(plan['tokens'])} tokens on {plan['devices']:,} x {plan['device']}"),
        (
            ("parameters", f"{record['parameters']:,}"),
            ("a token meets", f"{record['active_parameters']:,}"),
            ("operations", f"{training['flops']:.3g} FLOP"),
            ("device hours", _number(training["device_hours"])),
            ("time", _duration(training["days"])),
            ("energy", metric(1000 * footprint["kilowatt_hours"], "Wh")),
            ("CO2 equivalent", f"{_number(footprint['co2_kilograms'])} kg"),
        ),
    )
    held = [(part, size, size / plan["devices"], "") for part, size in training["state"].items()]
    for kept, size in training["activations"].items():
        held.append((f"activations, {kept} kept", size * plan["devices"], size, ""))
    for kept, size in training["memory"].items():
        held.append((f"together, {kept} kept", size * plan["devices"], size, _fits(training["fits"][kept])))
    yield table(
        ("memory of training", "all devices#", "each#", ""),
        ((part, metric(whole, "B"), metric(each, "B"), fits) for part, whole, each, fits in held),
    )
    sizes = (("weights", inference["weights"], ""), ("keys and values", inference["cache"], ""))
    whole = ("together", inference["memory"] * plan["devices"], _fits(inference["fits"]))
    yield table(
        ("memory of running", "all devices#", "each#", ""),
        ((part, metric(size, "B"), metric(size / plan["devices"], "B"), fits) for part, size, fits in (*sizes, whole)),
    )
    reading = ("reading", f"{_number(inference['read_tokens_per_second'])} tokens a second")
    writing = [("writing", f"{_number(decoded)} tokens a second")] if decoded else []
    yield table(("speed of running", f"sequences at once: {plan['batch'] * plan['devices']:,}"), [reading, *writing])
    yield "\n".join(("Assumed:", *(f"- {assumption}" for assumption in record["assumptions"])))


def _fits(fits: bool) -> str:
    return "fits" if fits else "does not fit"


def _duration(days: float) -> str:
    """A time in the largest unit of which it holds one, or in seconds.

    >>> _duration(20.6), _duration(0.1), _duration(1e-5)
    ('20.6 days', '2.4 hours', '0.864 seconds')
    """
    units = (("years", 365.25), ("days", 1.0), ("hours", 1 / 24), ("minutes", 1 / 1440))
    unit, size = next(((unit, size) for unit, size in units if days >= size), ("seconds", 1 / 86_400))
    return f"{_number(days / size)} {unit}"


def _number(value: float) -> str:
    """At least three figures, and no exponent where it is large.

    >>> _number(1_012_704.8), _number(20.603), _number(0.00123)
    ('1,012,705', '20.6', '0.00123')
    """
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
