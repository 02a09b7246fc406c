"""Files of labelled records -> records whose values a task can take, or one error that names all that is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from stemma.data.kinds import KINDS, Kind, Unfit
from stemma.data.records import FORMATS, Column, Format, Line, format_of, read_lines
from stemma.data.sources import Files
from stemma.data.tags import bio, is_iob
from stemma.errors import Fault, InputError

Record = Mapping[str, Any]
"""The value of each role, and under "where" the file and the line (or row, or sentence) that it comes from."""

_TOLD = 20
"""The most faults that one error lists."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Files of records: .jsonl, .csv, .tsv, .parquet, .conll, SQuAD's .json, or lines of text; also with .gz or .zst.

    Args:
        paths: paths, and patterns such as "reviews/**/*.jsonl"; the records come in their order.
        fields: the column that holds a role: a name, a number in a table without a header (a negative one counts from
            the last), or several for a list of texts. A role that is not named is the column of its own name; in
            CoNLL files words are the first column and tags the last.
        labels: new names of labels, as {"0": "negative"}; others stay.
        format: of every file; "" goes by the suffix.
        beside: as many files of text whose lines are the column "second" of the lines of `paths`.
        quoting: whether quotation marks hold a cell together; by itself in .csv files and not in .tsv files.
        first: how many records are read; all if None.
    """

    paths: tuple[str, ...]
    fields: Mapping[str, Column] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    format: Format = ""
    beside: tuple[str, ...] = ()
    quoting: bool | None = None
    first: int | None = None

    def faults(self) -> list[Fault]:
        """The values that break a rule, and every path that leads nowhere."""
        faults = self.files.faults()
        if self.format not in FORMATS:
            known = ", ".join(repr(name) for name in FORMATS)
            faults.append(Fault("format", self.format, "is unknown", f"use one of {known}"))
        if self.beside and self.format not in ("", "text"):
            faults.append(Fault("beside", self.beside, "stands beside files of text only", "name the second's column"))
        if self.first is not None and self.first < 1:
            faults.append(Fault("first", self.first, "must be at least 1", "leave it out to read all"))
        if "where" in self.fields:
            faults.append(Fault("fields", "where", "is where a record comes from", "use another name for the role"))
        return faults

    @property
    def files(self) -> Files:
        """The files alone."""
        return Files(paths=self.paths, beside=self.beside, split="line")

    def column(self, role: str) -> Column:
        """Where a role stands."""
        return self.fields.get(role, role)

    def identity(self) -> dict[str, Any]:
        """What the records depend on, as JSON; equal identities mean equal records."""
        options = {name: getattr(self, name) for name in ("format", "quoting", "first")}
        return self.files.identity() | options | {"fields": dict(self.fields), "labels": dict(self.labels)}


def read(source: Labelled, needed: Mapping[str, Kind]) -> list[Record]:
    """The records of a source.

    Tags that are spans (one of them is "O", or all begin with B-, I-, ...) come as IOB2, whichever form they had;
    others come as they are.

    Args:
        source: the files.
        needed: the kind of each role: "text" str, "label" str, "number" float, "words" and "tags" tuples of str of one
            length, "spans" a tuple of `Answer` in the role "context", "texts" a tuple of str.

    Returns:
        One mapping a record: the roles needed, and "where".

    Raises:
        InputError: a file, a line or a value that cannot be used; it names up to twenty, each with its file, line and
            role, and counts the others.
    """
    if faults := source.faults():
        raise InputError("labelled data", faults)
    records: list[dict[str, Any]] = []
    for line in islice(_lines(source, needed), source.first):
        if isinstance(line, Fault):
            faults.append(line)
            continue
        record, wrong = _record(line, source, needed)
        records.append(record)
        faults += wrong
    for role in (role for role, kind in needed.items() if kind == "tags"):
        faults += _as_iob2([record for record in records if role in record], role)
    if not records and not faults:
        faults.append(Fault("paths", source.paths, "hold no record", "name files that do"))
    raise_faults(faults)
    return list(records)


def known(records: Iterable[Record], role: str) -> tuple[str, ...]:
    """The names of the labels, or tags, that occur: sorted, numbers by their size.

    >>> known([{"label": "10"}, {"label": "9"}, {"label": "10"}], "label")
    ('9', '10')
    >>> known([{"tags": ("O", "B-person")}], "tags")
    ('B-person', 'O')
    """
    names = {name for record in records for name in _names(record[role])}
    return tuple(sorted(names, key=lambda name: (_size(name), name)))


def check_labels(records: Iterable[Record], role: str, known: Sequence[str]) -> list[Fault]:
    """A fault for every label, or tag, that is not among the known ones, with the place where it stands first.

    >>> [str(fault) for fault in check_labels([{"label": "maybe"}], "label", ("no", "yes"))]
    ["record 1: label='maybe' is not among the labels no, yes; correct it or train with it"]
    """
    unseen: dict[str, Fault] = {}
    rule = f"is not among the labels {', '.join(known)}"
    for number, record in enumerate(records, 1):
        for name in _names(record[role]):
            if name not in known and name not in unseen:
                where = record.get("where", f"record {number}")
                unseen[name] = Fault(f"{where}: {role}", name, rule, "correct it or train with it")
    return list(unseen.values())


def raise_faults(faults: Sequence[Fault]) -> None:
    """Raise InputError with the first twenty of some faults and the number of the others, if there are any."""
    if len(faults) > _TOLD:
        rest = Fault("others", len(faults) - _TOLD, "faults more", "mend these first")
        faults = [*faults[:_TOLD], rest]
    if faults:
        raise InputError("labelled data", faults)


def _lines(source: Labelled, needed: Mapping[str, Kind]) -> Iterator[Line | Fault]:
    columns = {role: source.column(role) for role in needed}
    for group in source.files.groups():
        yield from read_lines(group, source.format or format_of(group[0]), columns, source.quoting)


def _record(line: Line, source: Labelled, needed: Mapping[str, Kind]) -> tuple[dict[str, Any], list[Fault]]:
    """The values of the roles; those that depend on another (tags on words, spans on the context) come last."""
    record: dict[str, Any] = {"where": line.where}
    faults = []
    for role, kind in sorted(needed.items(), key=lambda item: item[1] in ("tags", "spans")):
        value = None
        try:
            value = line.value(source.column(role))
            record[role] = KINDS[kind](value, record)
        except Unfit as unfit:
            faults.append(Fault(f"{line.where}: {role}", value, unfit.rule, unfit.remedy))
        if kind == "label" and role in record:
            record[role] = source.labels.get(record[role], record[role])
    return record, faults


def _as_iob2(records: list[dict[str, Any]], role: str) -> list[Fault]:
    """Write the tags of all records as IOB2, if they are spans."""
    if not is_iob({tag for record in records for tag in record[role]}):
        return []
    faults: list[Fault] = []
    for record in records:
        try:
            record[role] = bio(record[role])
        except InputError as error:
            faults += [Fault(f"{record['where']}: {role}", f.value, f.rule, f.remedy) for f in error.faults]
    return faults


def _names(value: str | Sequence[str]) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value


def _size(name: str) -> float:
    """What a label is sorted by: names that are no numbers stand together, after those that are."""
    try:
        return float(name)
    except ValueError:
        return math.inf
