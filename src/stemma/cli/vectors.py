"""A file of texts to a file of vectors, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from stemma.errors import Fault, InputError

if TYPE_CHECKING:
    import numpy as np

    from stemma.loading import Quantisation
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
        at_once: texts of a chunk.
    """

    file: Path
    field: str = "text"
    at_once: int = CHUNK

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
        """The texts, some at a time."""
        texts = iter(self)
        while chunk := list(islice(texts, self.at_once)):
            yield chunk


@dataclass(frozen=True)
class Embedder:
    """A model and how it embeds, as values that another process can be told.

    Args:
        model: its name, as `stemma.load` takes it.
        precision: in which it computes; None for the one that `stemma.load` takes.
        options: further arguments of `embed`.
        quantize: as `stemma.load` takes it.
    """

    model: str
    precision: Precision | None
    options: dict[str, Any]
    quantize: Quantisation = "none"

    @property
    def dtype(self) -> str | None:
        """In which the model is loaded."""
        return "float32" if self.precision == "int8" else self.precision

    def on(self, lm: Pretrained) -> Callable[[list[str]], np.ndarray]:
        """What takes texts to the vectors of a model that was loaded so."""
        asked = {None: {}, "int8": {"precision": "int8"}}.get(self.precision, {"precision": "own"})
        options = self.options | asked
        return lambda texts: lm.embed(texts, **options)


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
