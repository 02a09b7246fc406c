"""Texts to vectors on a Ray cluster."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from stemma.cli.vectors import Embedder, Texts
from stemma.errors import StemmaError

if TYPE_CHECKING:
    import numpy as np

_CHUNK, _MADE = "chunk", "made"


class _Worker:
    """A process of a cluster, with the model open."""

    def __init__(self, embedder: Embedder) -> None:
        from stemma.loading import load

        self._embed = embedder.on(load(embedder.model, dtype=embedder.dtype, quantize=embedder.quantize))

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        """A chunk's vectors, or what is wrong: an error that is returned arrives as it was raised."""
        made: np.ndarray | StemmaError
        try:
            made = self._embed(pickle.loads(row[_CHUNK]))
        except StemmaError as error:
            made = error
        return {_MADE: pickle.dumps(made)}


def spread(texts: Texts, embedder: Embedder, address: str) -> Iterator[np.ndarray]:
    """The vectors of each chunk in order, made by Ray Data, a process a processor; the file is streamed, not held.

    Each machine needs this library, the model under the same name, and the file under the same path.

    Args:
        texts: of the file.
        embedder: what each process opens.
        address: of the cluster; "local" starts one here.

    Raises:
        InputError: no such cluster, or a fault that a process met.
    """
    from stemma.data.connection import connect, processors

    data = connect(address)
    # A block is what a worker is given: one chunk, which is more than a byte.
    data.DataContext.get_current().target_max_block_size = 1
    # Lines are read beside the workers, who take every processor: else each would wait for the other.
    file = data.from_items([str(texts.file)], override_num_blocks=1)
    vectors = file.flat_map(partial(_chunks, texts=texts), num_cpus=0).map(
        _Worker,
        fn_constructor_args=(embedder,),
        compute=data.ActorPoolStrategy(min_size=1, max_size=processors()),
    )
    for row in vectors.iter_rows():
        made = pickle.loads(row[_MADE])
        if isinstance(made, StemmaError):
            raise made
        yield made


def _chunks(_: object, texts: Texts) -> Iterator[dict[str, bytes]]:
    for chunk in texts.chunks():
        yield {_CHUNK: pickle.dumps(chunk)}
