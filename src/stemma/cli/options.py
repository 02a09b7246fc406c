"""The options that several commands share, each under one name, and the checks made before a model is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from stemma.errors import Fault, InputError

Model = Annotated[
    str, typer.Option("--model", "-m", help="An embedded name, a folder, a .gguf file or a hub id.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Dtype = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option("--dtype", help="The type to compute in; float32, or the fastest of a quantised model."),
]
Quantize = Annotated[
    Literal["none", "int8", "int4"], typer.Option("--quantize", help="Hold weights in so many bits; int4 is fastest.")
]
NewTokens = Annotated[int, typer.Option("--max-new-tokens", "-n", help="The most tokens to add.")]
Temperature = Annotated[float | None, typer.Option("--temperature", help="Sample; below 1 is bolder.")]
TopK = Annotated[int | None, typer.Option("--top-k", help="Sample from the k likeliest tokens.")]
TopP = Annotated[float | None, typer.Option("--top-p", help="Sample from the likeliest tokens of this total.")]
MinP = Annotated[float | None, typer.Option("--min-p", help="Sample from tokens of at least this share of the best.")]
Penalty = Annotated[float | None, typer.Option("--repetition-penalty", help="Sample; above 1 avoids repeats.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Sample from this seed.")]
RunFile = Annotated[Path | None, typer.Argument(metavar="RUN.toml", help="A run file.", show_default=False)]
Resume = Annotated[Path | None, typer.Option("--resume", help="The folder of a run, to go on with it.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="In place of the file's; repeatable.")
]
RunFolder = Annotated[Path | None, typer.Option("--folder", help="Of the run, in place of the file's.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu or cuda; a GPU where there is one.")]


def check(command: str, faults: Iterable[Fault | None]) -> None:
    """Stop a command whose options break a rule.

    Args:
        command: the command's full name, such as `stemma next`.
        faults: what each check found, None where the rule holds.

    Raises:
        InputError: any rule is broken; it lists all of them.
    """
    found = [fault for fault in faults if fault is not None]
    if found:
        raise InputError(command, found)


def at_least(option: str, value: int | None, least: int) -> Fault | None:
    """The fault of a number below its least value.

    >>> print(at_least("--top", 0, 1))
    --top=0 must be at least 1; use --top 1 or more
    """
    if value is None or value >= least:
        return None
    return Fault(option, value, f"must be at least {least}", f"use {option} {least} or more")


def readable(option: str, text: str | None) -> Fault | None:
    """The fault of a text that is empty or that is not Unicode.

    >>> print(readable("TEXT", " "))
    TEXT=' ' must hold more than white space; give some text
    """
    if text is None:
        return None
    if not text.strip():
        return Fault(option, text, "must hold more than white space", "give some text")
    # The shell's bytes that are not UTF-8 arrive as lone surrogates, which no tokenizer takes.
    if any("\ud800" <= character <= "\udfff" for character in text):
        return Fault(option, text, "must be valid UTF-8", "encode the text as UTF-8")
    return None


def fresh(option: str, path: Path) -> Fault | None:
    """The fault of an output that exists already or whose folder does not."""
    # Unlike pathlib's, these two take a name that no file can have for one that is not there.
    if os.path.exists(path):
        return Fault(option, str(path), "exists already", "name another or delete it")
    if not os.path.isdir(path.parent):
        return Fault(option, str(path), "lies in a folder that does not exist", f"create {path.parent}")
    return None
