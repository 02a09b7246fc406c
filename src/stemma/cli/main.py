"""The `stemma` command: its frame, its exit statuses and its one way to report an error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from stemma.cli import (
    adapt,
    bench,
    convert,
    corrupt,
    embed,
    estimate,
    generate,
    lineage,
    predict,
    pretrain,
    quantize,
    tell,
    tokenizer,
)
from stemma.errors import StemmaError

FAILED = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    predict,
    generate,
    embed,
    tell,
    lineage,
    estimate,
    corrupt,
    tokenizer,
    pretrain,
    adapt,
    convert,
    quantize,
    bench,
):
    group.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"stemma {version('stemma-lm')}")
        raise typer.Exit


@app.callback()
def stemma(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The family tree of language models as running code."""


def main() -> None:
    """Run the command line on the process's own arguments and end the process with its status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: the words after `stemma`.

    Returns:
        The exit status: 0, 2 for anything that the user can mend, 130 when interrupted.
    """
    try:
        # Outside standalone mode typer returns the status of an early exit (130 for an interrupt), ends quietly where
        # the reader of a pipe has gone, and lets every other error through to us.
        status = get_command(app)(list(arguments), prog_name="stemma", standalone_mode=False)
    except StemmaError as error:
        return _fail(str(error))
    except typer.TyperException as error:
        return _fail(_usage(error))
    return status if isinstance(status, int) else 0


def _usage(error: typer.TyperException) -> str:
    """The message of a command line that typer could not read; empty when it has shown the help already."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "stemma"
    return f"{command}: {message}; see {command} --help" if message else ""


def _fail(message: str) -> int:
    if message:
        typer.echo(f"error: {message}", err=True)
    return FAILED
