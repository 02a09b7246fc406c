"""Corpora -> documents -> shards of ids -> rows: the way of the data up to where an objective takes it."""

from stemma.data.row import Frame, Ids, Piece, Reading, Row

__all__ = ["Frame", "Ids", "Piece", "Reading", "Row"]
