"""Corpora -> documents -> shards of ids -> rows: the way of the data up to where an objective takes it."""

from stemma.data.corpus import Corpus, split
from stemma.data.documents import documents
from stemma.data.kinds import Answer, Kind
from stemma.data.labelled import Labelled, Record, check_labels, known, raise_faults, read
from stemma.data.mixtures import language_shares
from stemma.data.prefetch import Prefetch
from stemma.data.report import Report
from stemma.data.row import Frame, Ids, Piece, Reading, Row
from stemma.data.rows import Position, Rows
from stemma.data.shards import open_corpus, tokenise
from stemma.data.sources import Document, Files, Source, Texts
from stemma.data.tags import bio

__all__ = [
    "Answer",
    "Corpus",
    "Document",
    "Files",
    "Frame",
    "Ids",
    "Kind",
    "Labelled",
    "Piece",
    "Position",
    "Prefetch",
    "Reading",
    "Record",
    "Report",
    "Row",
    "Rows",
    "Source",
    "Texts",
    "bio",
    "check_labels",
    "documents",
    "known",
    "language_shares",
    "open_corpus",
    "raise_faults",
    "read",
    "split",
    "tokenise",
]
