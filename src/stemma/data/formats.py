"""Files of every format -> documents as they stand there."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from stemma.data.extras import need
from stemma.data.report import Report
from stemma.data.sources import NAMED, Document, Files
from stemma.errors import Fault, InputError

_BLOCK = 1 << 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_files(source: Files, report: Report) -> Iterator[Document]:
    """The documents of files, in the order of the files.

    Bytes that are no UTF-8 come as lone surrogates, which `stemma.data.documents` repairs and counts.

    Args:
        source: the files.
        report: where byte-order marks and cuts are counted.

    Raises:
        InputError: a file that is damaged or is not of its format.
    """
    for group in source.groups():
        if group[0] in NAMED:
            yield from _topics(source, report)
            continue
        try:
            if len(group) == 2:
                yield from aligned(group, report)
            else:
                yield from _reader(group[0])(group[0], source, report)
        except InputError:
            raise
        except damages() as error:
            raise _bad(" and ".join(group), f"cannot be read: {error}", "mend or remove the file") from error


def cut(blocks: Iterable[str], longest: int, report: Report) -> Iterator[str]:
    """A text in parts of at most `longest` characters, which end with a line or at least a word where they can.

    >>> list(cut(["one two", " three"], 9, Report()))
    ['one two', ' three']
    """
    held, count = "", 0
    for block in blocks:
        held += block
        while len(held) > longest:
            place = held.rfind("\n", 0, longest) + 1 or max(held.rfind(" ", 1, longest + 1), 0) or longest
            yield held[:place]
            held, count = held[place:], count + 1
    if held or not count:
        yield held
    report.cut += count > 0


def _bad(where: str, rule: str, remedy: str, field: str = "file", value: object = None) -> InputError:
    return InputError(where, Fault(field, where if value is None else value, rule, remedy))


def damages() -> tuple[type[Exception], ...]:
    """What readers raise where a file is damaged; those of packages that are not imported cannot be raised."""
    found = [OSError, EOFError, zlib.error, csv.Error]
    for module, name in (("zstandard", "ZstdError"), ("pyarrow", "ArrowException")):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)


class _Zstandard(io.RawIOBase):
    """The bytes of a .zst file; unlike the package's own reader, it does not take a cut file for a whole one."""

    def __init__(self, path: str) -> None:
        self._package = need("zstandard", "zstd", "to read .zst files", path)
        self._file = io.FileIO(path)
        self._frame = self._package.ZstdDecompressor().decompressobj()
        self._fresh, self._ready = True, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._file.read(_BLOCK)
            if not block:
                if not self._fresh:
                    raise EOFError("compressed file ended before its last frame did")
                return 0
            self._ready = self._expand(block)
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _expand(self, block: bytes) -> bytes:
        whole = []
        while block:
            whole.append(self._frame.decompress(block))
            block, self._fresh = self._frame.unused_data, self._frame.eof
            if self._frame.eof:
                self._frame = self._package.ZstdDecompressor().decompressobj()
        return b"".join(whole)

    def close(self) -> None:
        self._file.close()
        super().close()


def _bytes(path: str) -> BinaryIO:
    return Path(path).open("rb")


OPENERS: dict[str, Callable[[str], Any]] = {
    ".gz": gzip.GzipFile,
    ".zst": lambda path: io.BufferedReader(_Zstandard(path), _BLOCK),
}


@contextmanager
def open_text(path: str, report: Report) -> Iterator[TextIO]:
    """A file of text, its newlines as they are, without its byte-order mark."""
    with OPENERS.get(Path(path).suffix, _bytes)(path) as stream:
        first = stream.peek(3)[:3]
        if first[:2] in _UTF16:
            raise _bad(path, "is UTF-16", "convert it: iconv -f UTF-16 -t UTF-8")
        if first == codecs.BOM_UTF8:
            stream.read(3)
            report.marks += 1
        yield io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="\n")


def _plain(path: str, source: Files, report: Report) -> Iterator[Document]:
    with open_text(path, report) as file:
        for text in _SPLITTERS[source.split](file, source, report):
            yield (text,)


def _paragraphs(file: TextIO, source: Files, report: Report) -> Iterator[str]:
    for real, lines in groupby(file, lambda line: bool(line.strip())):
        if real:
            yield "".join(lines).rstrip("\r\n")


_SPLITTERS: dict[str, Callable[[TextIO, Files, Report], Iterator[str]]] = {
    "file": lambda file, source, report: cut(iter(lambda: file.read(source.longest), ""), source.longest, report),
    "paragraph": _paragraphs,
    "line": lambda file, source, report: (line.rstrip("\r\n") for line in file),
}


def aligned(paths: tuple[str, ...], report: Report) -> Iterator[Document]:
    """Line by line two files at once."""
    with open_text(paths[0], report) as first, open_text(paths[1], report) as second:
        for number, (left, right) in enumerate(zip_longest(first, second), 1):
            if left is None or right is None:
                shorter = paths[left is not None]
                raise _bad(" and ".join(paths), f"has no line {number}", "give files of as many lines", value=shorter)
            yield left.rstrip("\r\n"), right.rstrip("\r\n")


def _json_lines(path: str, source: Files, report: Report) -> Iterator[Document]:
    with open_text(path, report) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _bad(f"{path}:{number}", f"is no JSON: {error}", "mend the line", "line", line[:80]) from error
            yield parts_of(record, source.fields, f"{path}:{number}")


def _parquet(path: str, source: Files, report: Report) -> Iterator[Document]:
    with need("pyarrow.parquet", "parquet", "to read .parquet files", path).ParquetFile(path) as table:
        held = table.schema_arrow.names
        if missing := [field for field in source.fields if field not in held]:
            faults = [Fault("fields", field, "is no column", f"use one of {', '.join(held)}") for field in missing]
            raise InputError(path, faults)
        for batch in table.iter_batches(1024, columns=list(source.fields)):
            for record in batch.to_pylist():
                yield parts_of(record, source.fields, path)


def _table(path: str, source: Files, report: Report) -> Iterator[Document]:
    """Rows of cells; in .tsv files quotation marks are text, as in those of most corpora."""
    comma = ".csv" in Path(path).suffixes
    form: Any = {"delimiter": ","} if comma else {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    csv.field_size_limit(sys.maxsize)
    with open_text(path, report) as file:
        rows = csv.reader(file, **form)
        header = next(rows, []) if any(isinstance(field, str) for field in source.fields) else []
        for row in rows:
            cells = dict(enumerate(row)) | dict(zip(header, row, strict=False))
            yield parts_of(cells, source.fields, f"{path}:{rows.line_num}")


_FORMATS = {".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet, ".tsv": _table, ".csv": _table}


def _reader(path: str) -> Callable[[str, Files, Report], Iterator[Document]]:
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in OPENERS]
    return _FORMATS.get(suffixes[-1] if suffixes else "", _plain)


def _topics(source: Files, report: Report) -> Iterator[Document]:
    from pydoc_data.topics import topics

    for name in sorted(topics):
        for text in _SPLITTERS[source.split](io.StringIO(topics[name]), source, report):
            yield (text,)


def parts_of(record: Any, fields: tuple[str | int, ...], where: str) -> Document:
    """The texts of a record's fields; a field without a value is an empty text.

    Raises:
        InputError: naming every field that is missing or is no text.
    """
    faults, parts = [], []
    for field in fields:
        if not isinstance(record, dict) or field not in record:
            held = ", ".join(map(str, record)) if isinstance(record, dict) else "none"
            faults.append(Fault("fields", field, "is missing", f"use one of those there: {held}"))
        elif not isinstance(record[field], str | None):
            faults.append(Fault(str(field), record[field], "is no text", "name a field of text"))
        else:
            parts.append(record[field] or "")
    if faults:
        raise InputError(where, faults)
    return tuple(parts)
