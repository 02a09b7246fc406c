"""Where documents come from, as values."""

from __future__ import annotations

import glob
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from stemma.errors import Fault, InputError

Document = tuple[str, ...]
Split = Literal["file", "paragraph", "line"]
Repeats = Literal["kept", "exact", "similar"]

NAMED = ("pydoc",)
"""Sources that need no file: "pydoc", the topics of Python's own help."""
_SPLITS, _REPEATS = ("file", "paragraph", "line"), ("kept", "exact", "similar")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What all sources have.

    Args:
        fields: of a record, which are a document's parts; a number is a column of a table without a header.
        languages: the name of each part's language; none where it does not matter.
        longest: the most characters of a document; a longer one becomes several.
        repeats: "exact" leaves out documents that came before, "similar" also those nearly so, "kept" none.
    """

    fields: tuple[str | int, ...] = ("text",)
    languages: tuple[str, ...] = ()
    longest: int = 1 << 24
    repeats: Repeats = "kept"

    @property
    def n_parts(self) -> int:
        """How many parts each document has."""
        return len(self.fields)

    @property
    def again(self) -> bool:
        """Whether the documents can be read more than once."""
        return True

    def faults(self) -> list[Fault]:
        """The values that break a rule."""
        faults = []
        if self.n_parts not in (1, 2):
            faults.append(Fault("fields", self.fields, "must be one or two", "name the text, or both texts of a pair"))
        if len(self.languages) not in (0, self.n_parts):
            rule = f"must be as many as the parts of a document, {self.n_parts}"
            faults.append(Fault("languages", self.languages, rule, "name each, or none"))
        if self.longest < 1:
            faults.append(Fault("longest", self.longest, "must be at least 1", "give a number of characters"))
        if self.repeats not in _REPEATS:
            faults.append(Fault("repeats", self.repeats, "is unknown", f"use {', '.join(_REPEATS)}"))
        return faults

    def identity(self) -> dict[str, Any]:
        """What the documents depend on, as JSON; equal identities mean equal documents."""
        names = ("fields", "languages", "longest", "repeats")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Files(Source):
    """Files: text, .jsonl, .parquet, .tsv or .csv, each also with .gz or .zst.

    Args:
        paths: paths, and patterns such as "books/**/*.txt.gz", or the name "pydoc".
        beside: as many files of text whose lines are the second parts of the lines of `paths`.
        split: what a document is in a file of text: all of it, what stands between blank lines, or a line.
    """

    paths: tuple[str, ...]
    beside: tuple[str, ...] = ()
    split: Split = "file"

    @property
    def n_parts(self) -> int:
        """How many parts each document has."""
        return 2 if self.beside else len(self.fields)

    def faults(self) -> list[Fault]:
        """The values that break a rule, and every path that leads nowhere."""
        faults = super().faults()
        if self.split not in _SPLITS:
            faults.append(Fault("split", self.split, "is unknown", f"use {', '.join(_SPLITS)}"))
        for path in self.paths + self.beside:
            if path not in NAMED and not _matches(path):
                faults.append(Fault("paths", path, "matches no file", "check it; ** stands for folders of any depth"))
        if not self.paths:
            faults.append(Fault("paths", (), "must not be empty", "name a file"))
        if self.beside and len(_all(self.beside)) != len(_all(self.paths)):
            rule = f"match {len(_all(self.beside))} files beside {len(_all(self.paths))}"
            faults.append(Fault("beside", self.beside, rule, "name a file for each"))
        return faults

    def groups(self) -> list[tuple[str, ...]]:
        """The files, sorted within a pattern; those whose lines belong together in one group."""
        columns = [_all(self.paths)] + ([_all(self.beside)] if self.beside else [])
        return list(zip(*columns, strict=True))

    def only(self, group: tuple[str, ...]) -> Files:
        """The same source with one group of its files."""
        return replace(self, paths=group[:1], beside=group[1:])

    def identity(self) -> dict[str, Any]:
        """The files' names, sizes and times of change, and the options."""
        files = [_stamp(path) for group in self.groups() for path in group]
        return super().identity() | {"split": self.split, "beside": bool(self.beside), "files": files}


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts(Source):
    """Texts in memory or in a stream, such as one of the package `datasets`.

    Args:
        items: strings, pairs of strings, or records with the source's fields.
        name: under which the tokens of a stream are found again; texts in a list are known by themselves.
    """

    items: Iterable[str | Sequence[str] | Mapping[str, Any]]
    name: str = ""

    @property
    def n_parts(self) -> int:
        """How many parts each document has, as the languages say where the items are no records."""
        return len(self.languages) or len(self.fields)

    @property
    def again(self) -> bool:
        """Whether the texts are there to stay."""
        return isinstance(self.items, Sequence)

    def faults(self) -> list[Fault]:
        """The values that break a rule."""
        faults = super().faults()
        if isinstance(self.items, (str, bytes)):
            faults.append(Fault("items", self.items, "must be a list or a stream of texts", "put it in a list"))
        if not self.name and not self.again:
            faults.append(Fault("name", "", "is needed for a stream", "name it, so that its tokens are found again"))
        return faults

    def identity(self) -> dict[str, Any]:
        """The name or the texts themselves, and the options."""
        if self.name:
            return super().identity() | {"name": self.name}
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(json.dumps(item, default=str).encode() + b"\n")
        return super().identity() | {"sha256": digest.hexdigest()}


def check_source(source: Source) -> None:
    """Raise InputError with all of a source's faults."""
    if faults := source.faults():
        raise InputError("source", faults)


def _matches(path: str) -> list[str]:
    """A file of that name, or else those that the pattern matches."""
    if Path(path).is_file():
        return [path]
    return sorted(found for found in glob.glob(path, recursive=True) if Path(found).is_file())


def _all(paths: Sequence[str]) -> list[str]:
    return [found for path in paths for found in ([path] if path in NAMED else _matches(path))]


def _stamp(path: str) -> list[Any]:
    if path in NAMED:
        return [path, platform.python_version()]
    state = Path(path).stat()
    return [str(Path(path).resolve()), state.st_size, state.st_mtime_ns]
