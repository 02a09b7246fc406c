"""Documents -> blocks of ids, on all cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stemma.data.deduplicate import SIEVES
from stemma.data.documents import documents
from stemma.data.encoding import Encoder
from stemma.data.report import Report
from stemma.data.sources import Document, Source

# Which the package reads at every call.
_PARALLEL = "TOKENIZERS_PARALLELISM"
_CHARACTERS, _DOCUMENTS = 1 << 18, 1024  # of a block, at most: small enough that no core waits long for the last


@dataclass(frozen=True)
class Block:
    """Some documents of a source as ids.

    Args:
        ids: flat.
        lengths: n x parts.
        signatures: n x numbers; what the sieve of the source knows them by.
        report: what was met while the source was read, in its last block.
    """

    ids: NDArray[np.uint32]
    lengths: NDArray[np.int64]
    signatures: NDArray[Any]
    report: Report


def encode(source: Source, encoder: Encoder, n_threads: int | None = None) -> Iterator[Block]:
    """The documents of a source as ids, in their order.

    Args:
        source: where they come from.
        encoder: texts to ids.
        n_threads: how many blocks are made at a time; None: one a core.
    """
    n_threads = n_threads or os.cpu_count() or 1
    coming: deque[Future[Block]] = deque()
    with _one_core_a_call(), ThreadPoolExecutor(n_threads, thread_name_prefix="tokenise") as pool:
        try:
            for batch, report in _batches(source):
                coming.append(pool.submit(_encode, batch, report, source, encoder))
                # Not before there is enough to do for all threads while this one reads on.
                if len(coming) > 2 * n_threads:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_core_a_call() -> Iterator[None]:
    """Let the package tokenizers make a block on one core: blocks side by side are a fifth faster than one on all."""
    before = os.environ.get(_PARALLEL)
    os.environ[_PARALLEL] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PARALLEL]
        else:
            os.environ[_PARALLEL] = before


def _batches(source: Source) -> Iterator[tuple[list[Document], Report]]:
    """Documents in batches; with the last one comes what was met in all."""
    report, batch, size = Report(), list[Document](), 0
    for document in documents(source, report):
        batch.append(document)
        size += sum(map(len, document))
        if size >= _CHARACTERS or len(batch) >= _DOCUMENTS:
            yield batch, Report()
            batch, size = [], 0
    yield batch, report


def _encode(batch: list[Document], report: Report, source: Source, encoder: Encoder) -> Block:
    ids, lengths = encoder([part for document in batch for part in document])
    return Block(ids, lengths.reshape(len(batch), source.n_parts), SIEVES[source.repeats]().sign(batch), report)
