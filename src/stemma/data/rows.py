"""The rows of a run: a pure function of a number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np

from stemma.data.corpus import Corpus, draws
from stemma.data.mixtures import Mixture
from stemma.data.packing import Numbers, Plan, bucket, chop, neighbour, pack, pour
from stemma.data.row import Frame, Ids, Piece, Reading, Row
from stemma.errors import Fault, InputError

_STRANGERS, _BATCHES, _ORDER = 4, 5, 6
_KEPT = 2  # plans: a step may reach over the end of an epoch


class Position(NamedTuple):
    """Where a run stands in its data.

    Args:
        epoch: from 0.
        share: of that epoch that is read.
    """

    epoch: int
    share: float


class Rows:
    """An endless sequence of rows over corpora; any of them at any time, and always the same.

    An epoch's documents are shuffled, and become rows as `Reading` says. Rows of one document come in batches of like
    length. What fills no row at an epoch's end is left out of a "stream", and so are rows of one document that fill no
    batch.

    Args:
        corpora: one or more, mixed by their languages.
        reading: how they become rows.
        length: the most tokens of a row; "pairs" are whole, since each part may go to a stack of its own.
        frame: around each document, or each part of one that is cut; readings without frames leave room for it.
        seed: of every shuffle and draw.
        alpha: how languages are mixed: see `language_shares`.
        batch: rows that are read together.
        copies: after so many epochs all is as in the first ones, each row with the same draws: static masking.

    Raises:
        InputError: naming everything that is amiss with these.

    >>> rows = Rows([Corpus.of([[5, 6, 7], [8, 9]])], "stream", 4, Frame((), (1,)), seed=0)
    >>> [piece.ids.tolist() for piece in rows.row(0).pieces]
    [[5, 6, 7, 1]]
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        reading: Reading,
        length: int,
        frame: Frame,
        seed: int,
        *,
        alpha: float = 1.0,
        batch: int = 1,
        copies: int | None = None,
    ) -> None:
        _check(corpora, reading, length, frame, seed, batch, copies)
        self._mixture = Mixture(corpora, seed, alpha)
        self._corpora, self._reading, self._length, self._frame = list(corpora), reading, length, frame
        self._before, self._after = (np.array(ids, dtype=np.int64) for ids in (frame.before, frame.after))
        self._seed, self._batch, self._copies = seed, batch, copies
        self._first = self._mixture.first.tolist()
        self._lengths = np.concatenate([corpus.lengths.sum(1) for corpus in corpora])
        self.languages = tuple(dict.fromkeys(name for corpus in corpora for name in corpus.languages))
        """Their names; pieces have their numbers."""
        self._numbers = [tuple(map(self.languages.index, corpus.languages)) for corpus in corpora]
        self._plans: dict[int, Plan] = {}
        self._counts: dict[int, int] = {}
        self._before_epoch = [0]  # what was read before each epoch, as far as was asked for
        if not self.in_epoch(0):
            fault = Fault("corpora", int(self._lengths.sum()), "tokens fill no row", "give more text, or shorter rows")
            raise InputError("rows", fault)

    def row(self, number: int) -> Row:
        """A row of the run.

        Args:
            number: from 0; there is no last one.
        """
        epoch, index = self._locate(number)
        shuffle = self._shuffle(epoch)
        plan = self._plan(shuffle)
        held = slice(int(plan.bounds[index]), int(plan.bounds[index + 1]))
        stretches = zip(*(table[held].tolist() for table in (plan.documents, plan.starts, plan.stops)), strict=True)
        return Row(tuple(self._piece(*stretch) for stretch in stretches), (self._seed, shuffle, index))

    def describe(self, number: int) -> Position:
        """Where a run stands that has read so many rows."""
        epoch, index = self._locate(number)
        return Position(epoch, index / self.in_epoch(epoch))

    def in_epoch(self, epoch: int) -> int:
        """How many rows an epoch has."""
        # With every document once in it, each epoch has as many.
        shuffle = 0 if self._mixture.whole else self._shuffle(epoch)
        if shuffle not in self._counts:
            self._counts[shuffle] = len(self._plan(shuffle))
        return self._counts[shuffle]

    def _shuffle(self, epoch: int) -> int:
        return epoch if self._copies is None else epoch % self._copies

    def _locate(self, number: int) -> tuple[int, int]:
        """The epoch of a row, and the row's number in it."""
        if self._mixture.whole:
            return divmod(number, self.in_epoch(0))
        # Never changed in place: another thread may ask at the same time.
        before = self._before_epoch
        while before[-1] <= number:
            before = [*before, before[-1] + self.in_epoch(len(before) - 1)]
        self._before_epoch = before
        epoch = bisect_right(before, number) - 1
        return epoch, number - before[epoch]

    def _plan(self, shuffle: int) -> Plan:
        plan = self._plans.get(shuffle)
        if plan is None:
            documents = self._mixture.epoch(shuffle)
            plan = self._make(documents, self._lengths[documents], shuffle)
            self._plans = dict([*self._plans.items(), (shuffle, plan)][-_KEPT:])
        return plan

    def _make(self, documents: Numbers, lengths: Numbers, shuffle: int) -> Plan:
        """The rows of a shuffle of documents."""
        frame, length = len(self._frame), self._length
        if self._reading == "stream":
            return pour(documents, lengths + frame, length)
        items = chop(documents, lengths, int(lengths.max()) if self._reading == "pairs" else length - frame)
        order = draws(self._seed, _ORDER, shuffle).permutation(np.flatnonzero(items.lengths >= self._least))
        items, batches = items.take(order), draws(self._seed, _BATCHES, shuffle)
        if self._reading == "whole":
            rows = pack(items, frame, length)
            return rows.take(batches.permutation(len(rows)))
        rows = neighbour(items, draws(self._seed, _STRANGERS, shuffle)) if self._reading == "neighbours" else items
        return rows.take(bucket(items.lengths, self._batch, batches))

    @property
    def _least(self) -> int:
        """Tokens of a stretch: where it will be cut in two, there are as many."""
        return 2 if self._reading == "neighbours" else 1

    def _piece(self, document: int, start: int, stop: int) -> Piece:
        """A stretch of a document as the reading has it."""
        number = bisect_right(self._first, document) - 1
        corpus, place = self._corpora[number], document - self._first[number]
        match self._reading:
            case "pairs":
                parts = corpus.parts(place)
            case "neighbours":
                parts = (corpus.stretch(place, start, stop),)
            case "stream":
                parts = (self._poured(corpus, place, start, stop),)
            case _:
                body = corpus.stretch(place, start, stop)
                parts = (np.concatenate([self._before, body, self._after]),)
        return Piece(parts, self._numbers[number], document)

    def _poured(self, corpus: Corpus, place: int, start: int, stop: int) -> Ids:
        """Tokens [start, stop) of a document in its frame."""
        first, last = len(self._before), len(self._before) + int(corpus.lengths[place].sum())
        body = corpus.stretch(place, max(start, first) - first, max(min(stop, last), first) - first)
        return np.concatenate([self._before[start:stop], body, self._after[max(start - last, 0) : max(stop - last, 0)]])


def _check(
    corpora: Sequence[Corpus],
    reading: Reading,
    length: int,
    frame: Frame,
    seed: int,
    batch: int,
    copies: int | None,
) -> None:
    faults = []
    if reading not in get_args(Reading):
        faults.append(Fault("reading", reading, "is unknown", f"use {', '.join(get_args(Reading))}"))
    parts = 2 if reading == "pairs" else 1
    for number, corpus in enumerate(corpora):
        if corpus.lengths.shape[1] != parts:
            rule = f"parts has each document, and {reading!r} reads {parts}"
            faults.append(Fault(f"corpora[{number}]", corpus.lengths.shape[1], rule, "choose another source"))
    if length <= len(frame):
        faults.append(Fault("length", length, f"leaves no room in a frame of {len(frame)}", "use longer rows"))
    if seed < 0:
        faults.append(Fault("seed", seed, "must not be negative", "use 0"))
    for name, value in (("batch", batch), ("copies", copies)):
        if value is not None and value < 1:
            faults.append(Fault(name, value, "must be at least 1", "use 1"))
    if reading == "neighbours" and sum(int((corpus.lengths.sum(1) > 1).sum()) for corpus in corpora) < 2:
        rule = "must hold two documents of two tokens or more"
        faults.append(Fault("corpora", len(corpora), rule, "split files at paragraphs, or give more"))
    if faults:
        raise InputError("rows", faults)
