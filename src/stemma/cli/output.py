"""What a command prints: JSON through one function, tables and trees otherwise."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import typer

from stemma.errors import Fault, InputError
from stemma.files import new_file

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from stemma.loading import Quantisation
    from stemma.pretrained import Pretrained
    from stemma.text import Tokenizer

Result = TypeVar("Result")

PIPE_WIDTH = 120


def show(result: Result, as_json: bool, draw: Callable[[Result], Iterable[RenderableType]]) -> None:
    """Print a command's result.

    Args:
        result: what JSON can hold.
        as_json: print that JSON, indented by two.
        draw: turns the same result into what rich prints.
    """
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False, allow_nan=False, indent=2))
        return
    from rich.console import Console
    from rich.text import Text

    # A pipe has no width of its own.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for part in draw(result):
        # Text is left as it is; whoever reads it breaks its lines.
        console.print(part, soft_wrap=isinstance(part, str | Text))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """A plain table; a column whose name ends in `#` holds figures and stands to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        right = column.endswith("#")
        drawn.add_column(column.rstrip("#"), justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    return drawn


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal that something takes a while; a pipe sees nothing."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def open_model(name: str, dtype: str | None = None, quantize: Quantisation = "none") -> Pretrained:
    """Load a model for a command, with a sign of life on a terminal."""
    with waiting(f"loading {name}"):
        from stemma.loading import load

        return load(name, dtype=dtype, quantize=quantize)


def open_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a model, without its weights where it has a file of its own."""
    from stemma.checkpoints import locate
    from stemma.text import read_tokenizer

    path = locate(name).path
    tokenizer = read_tokenizer(path) if path.is_dir() else open_model(name).tokenizer
    if tokenizer is None:
        raise InputError(name, Fault("--tokenizer", name, "holds no tokenizer", "name a folder with tokenizer.json"))
    return tokenizer


def write(command: str, option: str, path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Write a file that appears once all of it is written.

    Args:
        command: the command's full name, such as `stemma tree`.
        option: the option that named the file.
        path: the file, checked by `options.fresh`.
        save: writes its content.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with new_file(path) as stream:
            save(stream)
    except OSError as error:
        fault = Fault(option, str(path), f"cannot be written: {error.strerror}", "name another file")
        raise InputError(command, fault) from error
