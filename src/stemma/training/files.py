"""A file that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

from stemma.errors import Fault, InputError


def write_whole(path: Path, text: str) -> None:
    """Write a file, in the place of the one that stands there once all of it is written.

    Args:
        path: of the file; folders on the way are made.
        text: its content.

    Raises:
        InputError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        rule = f"cannot be written: {error.strerror}"
        raise InputError("run", Fault("folder", str(path.parent), rule, "choose another folder")) from error
