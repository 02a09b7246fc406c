"""Files of every format -> lines of cells, with the place where each stands."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from stemma.data.extras import need
from stemma.data.formats import OPENERS, aligned, damages, open_text
from stemma.data.kinds import Unfit
from stemma.data.report import Report
from stemma.errors import Fault, InputError

Format = Literal["", "jsonl", "csv", "tsv", "parquet", "conll", "squad", "text"]
Column = str | int | tuple[str | int, ...]

FORMATS: tuple[Format, ...] = ("", "jsonl", "csv", "tsv", "parquet", "conll", "squad", "text")
_SUFFIXES: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".conll": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bio": "conll",
    ".json": "squad",
}
_COMMENT = re.compile(r"# *(\S+ =|newdoc|newpar|-?DOCSTART)|-DOCSTART-")
"""What no sentence of a CoNLL file begins with: the comments of CoNLL-U and the mark between documents of 2003."""


@dataclass(frozen=True)
class Line:
    """One record as its file has it.

    Args:
        where: file and line, row or sentence.
        cells: its values; in a CoNLL file each is a list of one value a word.
        places: the number of the cell of each name.
    """

    where: str
    cells: Sequence[Any]
    places: Mapping[str, int]

    def value(self, column: Column) -> Any:
        """What stands in a column, or in several.

        Raises:
            Unfit: there is no such column.
        """
        if isinstance(column, tuple | list):
            return [self.value(one) for one in column]
        place = self.places.get(column, len(self.cells)) if isinstance(column, str) else column
        if not -len(self.cells) <= place < len(self.cells):
            there = ", ".join(self.places) or f"0 to {len(self.cells) - 1}"
            raise Unfit(f"has no column {column!r}", f"use one of {there}")
        return self.cells[place]


def format_of(path: str) -> Format:
    """The format that a file's suffix names, before .gz or .zst.

    >>> format_of("reviews.tsv.gz"), format_of("README")
    ('tsv', 'text')
    """
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in OPENERS]
    return _SUFFIXES.get(suffixes[-1] if suffixes else "", "text")


def read_lines(
    group: tuple[str, ...], form: Format, columns: Mapping[str, Column], quoting: bool | None
) -> Iterator[Line | Fault]:
    """The records of a file, or of two aligned ones; a fault stands where one cannot be read.

    Args:
        group: the file, and the one beside it.
        form: its format.
        columns: that the roles need; a table has a header if one of them is a name.
        quoting: whether quotation marks hold a cell together; None goes by the format.
    """
    where = " and ".join(group)
    header = any(isinstance(name, str) for column in columns.values() for name in _each(column))
    held = form == "csv" if quoting is None else quoting
    lines = _aligned(group) if len(group) == 2 else _READERS[form](group[0], header, held)
    try:
        first = next(lines, None)
        if isinstance(first, Line) and form != "jsonl" and (lacking := _lacking(first, columns, where)):
            yield from lacking
            return
        if first is not None:
            yield first
            yield from lines
    except InputError as error:
        yield from (Fault(f"{error.where}: {one.field}", one.value, one.rule, one.remedy) for one in error.faults)
    except damages() as error:
        yield Fault("file", where, f"cannot be read: {error}", "mend or remove the file")


def _each(column: Column) -> Sequence[str | int]:
    return [column] if isinstance(column, str | int) else column


def _lacking(line: Line, columns: Mapping[str, Column], where: str) -> list[Fault]:
    """The roles that a whole file has no column for."""
    faults = []
    for role, column in columns.items():
        try:
            line.value(column)
        except Unfit as unfit:
            faults.append(Fault(f"{where}: {role}", column, unfit.rule, unfit.remedy))
    return faults


def _aligned(group: tuple[str, ...]) -> Iterator[Line]:
    for number, parts in enumerate(aligned(group, Report()), 1):
        yield Line(f"{group[0]}:{number}", parts, {"text": 0, "second": 1})


def _plain(path: str, header: bool, quoting: bool) -> Iterator[Line]:
    with open_text(path, Report()) as file:
        for number, text in enumerate(file, 1):
            yield Line(f"{path}:{number}", [text.rstrip("\r\n")], {"text": 0})


def _json_lines(path: str, header: bool, quoting: bool) -> Iterator[Line | Fault]:
    with open_text(path, Report()) as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            where = f"{path}:{number}"
            try:
                record = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield Fault(where, text.strip()[:80], f"is no JSON: {error}", "mend the line")
                continue
            if isinstance(record, dict):
                yield _named(where, record)
            else:
                yield Fault(where, record, "is no JSON object", "mend the line")


def _named(where: str, record: Mapping[str, Any]) -> Line:
    return Line(where, list(record.values()), {name: place for place, name in enumerate(record)})


def _parquet(path: str, header: bool, quoting: bool) -> Iterator[Line]:
    with need("pyarrow.parquet", "parquet", "to read .parquet files", path).ParquetFile(path) as table:
        number = 0
        for batch in table.iter_batches(1024):
            for record in batch.to_pylist():
                number += 1
                yield _named(f"{path}:{number}", record)


def _table(delimiter: str) -> Callable[[str, bool, bool], Iterator[Line | Fault]]:
    def rows(path: str, header: bool, quoting: bool) -> Iterator[Line | Fault]:
        form: Any = {"delimiter": delimiter, "quoting": csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE}
        csv.field_size_limit(sys.maxsize)
        with open_text(path, Report()) as file:
            cells = csv.reader(file, strict=True, **form)
            names = next(cells, []) if header else []
            places = {name: place for place, name in enumerate(names)}
            width = len(names)
            for row in filter(None, cells):
                width = width or len(row)
                where = f"{path}:{cells.line_num}"
                if len(row) == width:
                    yield Line(where, row, places)
                else:
                    rule = f"must be {width}, as in the first line"
                    yield Fault(f"{where}: cells", len(row), rule, "mend the line, or set quoting")

    return rows


def _conll(path: str, header: bool, quoting: bool) -> Iterator[Line | Fault]:
    """Sentences between blank lines; a line is a word, with its columns between tabs or else spaces."""
    with open_text(path, Report()) as file:
        lines = ((number, text.rstrip("\r\n")) for number, text in enumerate(file, 1) if not _COMMENT.match(text))
        for real, sentence in groupby(lines, lambda line: bool(line[1].strip())):
            if not real:
                continue
            numbers, texts = zip(*sentence, strict=True)
            words = [text.split("\t") if "\t" in text else text.split() for text in texts]
            width = len(words[0])
            uneven = [pair for pair in zip(numbers, words, strict=True) if len(pair[1]) != width]
            for number, word in uneven:
                rule = f"must be {width}, as in line {numbers[0]}, where the sentence begins"
                yield Fault(f"{path}:{number}: columns", len(word), rule, "mend the line")
            if not uneven:
                columns = [list(column) for column in zip(*words, strict=True)]
                yield Line(f"{path}:{numbers[0]}", columns, {"words": 0, "tags": width - 1})


def _squad(path: str, header: bool, quoting: bool) -> Iterator[Line | Fault]:
    """Each question of SQuAD's nested file; `where` is its identifier."""
    with open_text(path, Report()) as file:
        try:
            data = json.load(file)["data"]
            paragraphs = [paragraph for article in data for paragraph in article["paragraphs"]]
            asked = [(question, paragraph["context"]) for paragraph in paragraphs for question in paragraph["qas"]]
            records = [{"answers": [], **question, "context": context} for question, context in asked]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            yield Fault("file", path, f"is no SQuAD file: {error!r}", "give one with data, paragraphs and qas")
            return
    for number, record in enumerate(records, 1):
        yield _named(f"{path}:question {record.get('id', number)}", record)


_READERS: Mapping[Format, Callable[[str, bool, bool], Iterator[Line | Fault]]] = {
    "jsonl": _json_lines,
    "csv": _table(","),
    "tsv": _table("\t"),
    "parquet": _parquet,
    "conll": _conll,
    "squad": _squad,
    "text": _plain,
}
