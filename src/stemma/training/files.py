"""A file that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

from stemma.errors import Fault, InputError
from stemma.text.saving import write_file


def write_whole(path: Path, text: str) -> None:
    """Write a file, in the place of the one that stands there once all of it is on the disk.

    Args:
        path: of the file; folders on the way are made.
        text: its content.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text)
    except OSError as error:
        rule = f"cannot be written: {error.strerror}"
        raise InputError("run", Fault("folder", str(path.parent), rule, "choose another folder")) from error
