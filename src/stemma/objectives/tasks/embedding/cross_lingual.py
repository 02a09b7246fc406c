"""A teacher's vectors for a text and for its translation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from stemma.checkpoints import locate, read_folder
from stemma.data import Kind, Record
from stemma.errors import Fault, InputError
from stemma.objectives.example import Asked, Example
from stemma.objectives.tasks.asking import ask
from stemma.objectives.tasks.embedding.negatives import matching
from stemma.objectives.tasks.embedding.sentences import SentenceTask, unit
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.vectors import width_of
from stemma.objectives.vocabulary import Vocabulary
from stemma.spec.pooling import Pooling
from stemma.text import read_tokenizer


@dataclass(frozen=True, kw_only=True)
class CrossLingual(SentenceTask):
    """The mean squares of u - t and v - t, t being a teacher's vector of the first text (Reimers and Gurevych 2020).

    Section 2, equation 1: of a text and its translation, so that both come to lie where the teacher has the text. The
    teacher reads each text once, before learning begins; it may have another vocabulary.

    Args:
        teacher: the folder or name of a sentence encoder with vectors of the same width.
    """

    name: ClassVar[str] = "cross-lingual"
    needs: ClassVar[Mapping[str, Kind]] = {}
    term: ClassVar[str] = "vector"
    measures: ClassVar[str] = "matching"

    teacher: str = "minilm"

    def right(self, records: Sequence[Record], scribe: Scribe) -> Iterator[np.ndarray]:
        """The teacher's vectors of the first texts.

        Raises:
            InputError: where they have another width.
        """
        taught = _taught(self.teacher, [record["text"] for record in records], scribe.length)
        wanted = width_of(scribe.spec)
        if taught.shape[-1] != wanted:
            rule = f"gives vectors of {taught.shape[-1]} numbers where the network's have {wanted}"
            raise InputError(self.name, Fault("teacher", self.teacher, rule, "use one of the same width"))
        yield from taught[:, None]

    def cut(self, vectors: Tensor) -> list[Tensor]:
        """Whole: the teacher's are cut alongside."""
        return [vectors]

    def compared(self, vectors: Tensor, asked: Asked, companions: nn.ModuleDict | None) -> Tensor:
        """The sum over records and sizes of the mean over both texts and all numbers."""
        taught = asked.ids[:, None].expand_as(vectors)
        pairs = zip(super().cut(vectors), super().cut(taught), strict=True)
        return sum(
            (functional.mse_loss(*pair, reduction="none").mean((1, 2)).sum() for pair in pairs),
            start=vectors.new_zeros(()),
        )

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> np.ndarray:
        """The vectors of the text and its translation, of length 1."""
        return unit(scores[0][0])

    def measure(self, records: Sequence[Record], told: Sequence[np.ndarray]) -> dict[str, float]:
        """How often the nearest translation is a text's own, and the nearest text a translation's own."""
        return matching(told)


@dataclass(frozen=True, kw_only=True)
class _Alone(SentenceTask):
    """Asks for the vector of one text."""

    name: ClassVar[str] = "vector"
    texts: ClassVar[tuple[str, ...]] = ("text",)
    needs: ClassVar[Mapping[str, Kind]] = {}
    term: ClassVar[str] = "vector"


def _taught(teacher: str, texts: Sequence[str], length: int) -> np.ndarray:
    """What a teacher's vectors of texts are, N x D."""
    path = locate(teacher).path
    tokenizer = read_tokenizer(path) if path.is_dir() else None
    if tokenizer is None:
        rule = "is no folder with a tokenizer"
        raise InputError("cross-lingual", Fault("teacher", teacher, rule, "use a sentence encoder's folder"))
    stored = read_folder(path)
    spec, pooling = stored.architecture, stored.pooling or Pooling()
    longest = min(size for size in (length, spec.max_tokens, pooling.max_tokens) if size is not None)
    scribe = Scribe(tokenizer, Vocabulary.of(tokenizer, size=spec.vocab_size), spec, longest)
    task = _Alone(pooling=pooling)
    examples = [one for several in task.questions([{"text": text} for text in texts], scribe) for one in several]
    found = ask(stored.model, task, examples, pad=tokenizer.pad or 0, packed=longest)
    return np.concatenate([vectors[:, 0] for vectors in found])
