"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stemma.errors import CheckpointError, Fault
from stemma.files import sync, unfinished

# A file of these names tells what a folder holds.
_OURS = ("config.json", "adaptation.json", "adapter_config.json")


@contextmanager
def new_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill, which takes the target's name once every file in it is on the disk.

    Args:
        target: the folder's name in the end.
        overwrite: replace what stands there.

    Raises:
        CheckpointError: the target stands already, or cannot be made.
    """
    target = Path(os.path.abspath(target))
    if target.exists() and not overwrite:
        raise CheckpointError(
            str(target), Fault("folder", target.name, "exists already", "choose another, or overwrite=True")
        )
    if target.exists() and not _replaceable(target):
        rule = "holds something else than a model"
        raise CheckpointError(str(target), Fault("folder", target.name, rule, "choose another, or empty it yourself"))
    partial = unfinished(target)
    try:
        partial.mkdir(parents=True)
        yield partial
        for path in (*partial.rglob("*"), partial):
            sync(path)
        _take_place(partial, target)
        sync(target.parent)
    except OSError as error:
        rule = f"cannot be written: {error.strerror or error}"
        raise CheckpointError(str(target), Fault("folder", target.name, rule, "choose another folder")) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replaceable(target: Path) -> bool:
    """Whether a folder is empty, a model's or an adaptation's: nothing else is ever deleted."""
    return target.is_dir() and (any((target / name).is_file() for name in _OURS) or not any(target.iterdir()))


def _take_place(partial: Path, target: Path) -> None:
    if not target.exists():
        partial.rename(target)
        return
    old = partial.with_suffix(".old")
    target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)
