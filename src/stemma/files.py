"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to fill, which takes its name once all of it is on the disk; what stood there stands until then.

    Args:
        path: of the file, in a folder that stands.

    Raises:
        OSError: it cannot be written.
    """
    partial = unfinished(path)
    try:
        with partial.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def unfinished(path: Path) -> Path:
    """A name beside a path, hidden and nobody else's, for what is on its way there."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


def sync(path: Path) -> None:
    """See a file or folder onto the disk.

    Raises:
        OSError: it cannot be opened or written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
