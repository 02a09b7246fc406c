"""A file of texts to a file of vectors, a chunk at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from stemma.errors import Fault, InputError, StemmaError

if TYPE_CHECKING:
    import numpy as np

    from stemma.pretrained import Pretrained

Precision = Literal["float32", "bfloat16", "int8"]
CHUNK = 4096
"""Texts that are held at once: enough of them for batches of equal length."""
# Faults that one error tells of; a file may have as many as lines.
_SHOWN = 20


@dataclass(frozen=True)
class Texts:
    """The texts of a file: a line of text each, or a field of a record.

    Args:
        file: text, .jsonl, .csv, .tsv or .parquet, each also with .gz or .zst.
        field: of a record.
    """

    file: Path
    field: str = "text"

    def __iter__(self) -> Iterator[str]:
        from stemma.data.formats import read_files
        from stemma.data.report import Report
        from stemma.data.sources import Files, check_source

        source = Files(paths=(str(self.file),), split="line", fields=(self.field,))
        check_source(source)
        return (text for (text,) in read_files(source, Report()))

    def count(self) -> int:
        """How many there are.

        Raises:
            InputError: none, or naming texts that are empty or no UTF-8.
        """
        blank, broken, number = [], [], 0
        for number, text in enumerate(self, start=1):
            if not text.strip():
                blank.append(number)
            elif any("\ud800" <= character <= "\udfff" for character in text):
                broken.append(number)
            if len(blank) + len(broken) == _SHOWN:
                break
        faults = [
            Fault("text", numbers, rule, remedy)
            for numbers, rule, remedy in (
                (blank, "holds no text", "fill or delete it"),
                (broken, "is not UTF-8", "convert the file to UTF-8"),
            )
            if numbers
        ]
        if not number:
            faults.append(Fault("file", str(self.file), "is empty", "write one text a line"))
        if faults:
            raise InputError(str(self.file), faults)
        return number

    def chunks(self) -> Iterator[list[str]]:
        """The texts, so many at a time."""
        texts = iter(self)
        while chunk := list(islice(texts, CHUNK)):
            yield chunk


@dataclass(frozen=True)
class Embedder:
    """A model and how it embeds, as values that another process can be told.

    Args:
        model: its name, as `stemma.load` takes it.
        precision: in which it computes.
        options: further arguments of `embed`.
    """

    model: str
    precision: Precision
    options: dict[str, Any]

    @property
    def dtype(self) -> str:
        """In which the model is loaded."""
        return "float32" if self.precision == "int8" else self.precision

    def on(self, lm: Pretrained) -> Callable[[list[str]], np.ndarray]:
        """What takes texts to the vectors of a model that was loaded so."""
        options = self.options | ({"precision": "int8"} if self.precision == "int8" else {})
        return lambda texts: lm.embed(texts, **options)


class _Worker:
    """A process of a cluster."""

    def __init__(self, embedder: Embedder) -> None:
        from stemma.pretrained import load

        self._embed = embedder.on(load(embedder.model, dtype=embedder.dtype))

    def embed(self, texts: list[str]) -> np.ndarray | StemmaError:
        """Vectors, or what is wrong: an error that is returned arrives as it was raised."""
        try:
            return self._embed(texts)
        except StemmaError as error:
            return error


def spread(chunks: Iterable[list[str]], embedder: Embedder, address: str) -> Iterator[np.ndarray]:
    """The vectors of each chunk in order, made on a Ray cluster by a process a processor; few chunks are held at once.

    Each process needs this library, and the model under the same name.

    Args:
        chunks: of texts.
        embedder: what each process opens.
        address: of the cluster; "local" starts one here.

    Raises:
        InputError: no such cluster, or a fault that a process met.
    """
    from stemma.data.connection import connect

    ray = connect(address)
    count = max(1, int(ray.cluster_resources().get("CPU", 1)))
    workers = [ray.remote(num_cpus=1)(_Worker).remote(embedder) for _ in range(count)]
    coming: deque[Any] = deque()

    def next_vectors() -> np.ndarray:
        made: np.ndarray | StemmaError = ray.get(coming.popleft())
        if isinstance(made, StemmaError):
            raise made
        return made

    for number, chunk in enumerate(chunks):
        if len(coming) == 2 * count:
            yield next_vectors()
        coming.append(workers[number % count].embed.remote(chunk))
    while coming:
        yield next_vectors()


def save_rows(stream: BinaryIO, count: int, vectors: Iterable[np.ndarray]) -> int:
    """Write an .npy file of float32 whose rows come in parts, and say how wide they are.

    Args:
        stream: empty.
        count: of the rows, which the file's head tells.
        vectors: parts of the rows, in order.

    Raises:
        InputError: there are more or fewer rows.
    """
    import numpy as np

    width = written = 0
    for part in vectors:
        written += len(part)
        if not width:
            width = part.shape[1]
            head = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
            np.lib.format.write_array_header_1_0(stream, head)
        stream.write(part.astype("<f4").tobytes())
    if written != count:
        fault = Fault("texts", written, f"were {count} before: the file has changed", "run the command again")
        raise InputError("vectors", fault)
    return width
