"""Corpora -> documents -> shards of ids -> rows: the way of the data up to where an objective takes it."""

from stemma.data.corpus import Corpus, split
from stemma.data.documents import documents
from stemma.data.mixtures import language_shares
from stemma.data.prefetch import Prefetch
from stemma.data.report import Report
from stemma.data.row import Frame, Ids, Piece, Reading, Row
from stemma.data.rows import Position, Rows
from stemma.data.shards import open_corpus, tokenise
from stemma.data.sources import Document, Files, Source, Texts

__all__ = [
    "Corpus",
    "Document",
    "Files",
    "Frame",
    "Ids",
    "Piece",
    "Position",
    "Prefetch",
    "Reading",
    "Report",
    "Row",
    "Rows",
    "Source",
    "Texts",
    "documents",
    "language_shares",
    "open_corpus",
    "split",
    "tokenise",
]
