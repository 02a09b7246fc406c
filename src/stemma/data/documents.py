"""Sources -> clean documents, with a count of everything that was wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stemma.data.formats import cut, parts_of, read_files
from stemma.data.report import Report
from stemma.data.sources import Document, Files, Source, Texts, check_source
from stemma.errors import Fault, InputError


def documents(source: Source, report: Report | None = None) -> Iterator[Document]:
    """The documents of a source: whole characters, some text in each part, none longer than allowed.

    Args:
        source: where they come from.
        report: what is counted as they are read.

    Raises:
        InputError: a source with faults, a damaged file, a record without the fields.

    >>> report = Report()
    >>> list(documents(Texts(items=["one", " ", "tw\\ud800o"]), report))
    [('one',), ('tw\ufffdo',)]
    >>> print(report)
    2 documents, 9 bytes, 1 repaired, 1 empty
    """
    check_source(source)
    report = Report() if report is None else report
    raw = read_files(source, report) if isinstance(source, Files) else _read_texts(source)
    for document in raw:
        whole, n_bytes = zip(*map(_mend, document), strict=True)
        report.repaired += whole != document
        if not all(map(str.strip, whole)):
            report.empty += 1
            continue
        for piece in _within(whole, source.longest, report) if max(map(len, whole)) > source.longest else (whole,):
            report.documents += 1
            report.bytes += sum(n_bytes) if piece is whole else sum(len(part.encode()) for part in piece)
            yield piece


def _mend(text: str) -> tuple[str, int]:
    """A text without halves of surrogate pairs, and its bytes."""
    try:
        return text, len(text.encode())
    except UnicodeEncodeError:
        mended = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return mended, len(mended.encode())


def _within(document: Document, longest: int, report: Report) -> Iterator[Document]:
    """A document's pieces; of a pair only the beginning, since nothing says which of the rest belong together."""
    pieces = zip(*(cut([part], longest, Report()) for part in document), strict=False)
    report.cut += 1
    for number, piece in enumerate(pieces):
        if not all(map(str.strip, piece)):
            report.empty += 1
        elif len(document) == 1 or number == 0:
            yield piece


def _read_texts(source: Source) -> Iterator[Document]:
    assert isinstance(source, Texts)
    for number, item in enumerate(source.items):
        where = f"items[{number}]"
        parts: Any = parts_of(dict(item), source.fields, where) if isinstance(item, Mapping) else item
        parts = (parts,) if isinstance(parts, str) else parts
        if not isinstance(parts, Sequence) or [*map(type, parts)] != [str] * source.n_parts:
            rule = "is no text" if source.n_parts == 1 else f"is no {source.n_parts} texts"
            raise InputError("texts", Fault(where, item, rule, "give strings, pairs or records"))
        yield tuple(parts)
