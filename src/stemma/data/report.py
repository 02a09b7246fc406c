"""What was met while documents were read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


@dataclass
class Report:
    """Counts of what a source held; nothing is repaired or left out without one.

    Args:
        documents: those that are kept.
        bytes: of text in UTF-8, that of duplicates too.
        repaired: documents in which bytes or halves of surrogate pairs that are no character became U+FFFD.
        marks: byte-order marks taken off.
        empty: documents, or pairs, without text or tokens in a part; left out.
        cut: documents that were longer than allowed and became several, or pairs of which the beginning is kept.
        duplicates: documents that came before; left out.
    """

    documents: int = 0
    bytes: int = 0
    repaired: int = 0
    marks: int = 0
    empty: int = 0
    cut: int = 0
    duplicates: int = 0

    def add(self, other: Report) -> None:
        """Count what another report counted, too."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def __str__(self) -> str:
        found = {name: count for name, count in asdict(self).items() if count or name in ("documents", "bytes")}
        return ", ".join(f"{count:,} {name}" for name, count in found.items())
