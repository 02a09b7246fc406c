"""The tag of each word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional

from stemma.data import Kind, Record, bio
from stemma.data.tags import is_iob
from stemma.metrics import accuracy, precision_recall_f1, span_f1
from stemma.objectives.example import Asked, Batch, Example, Targets
from stemma.objectives.tasks.frame import TextFrame
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.tasks.shares import shares
from stemma.objectives.tasks.task import HeadKind, Task, hidden_of


class Tagged(NamedTuple):
    """A sentence's tags.

    Args:
        tags: of each word.
        probabilities: how likely each is.
    """

    tags: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Tagging(Task):
    """-sum_w log p(tag of w | text), each read at the word's first token (Devlin et al. 2019, section 5.3).

    Words are read as a text in which a space stands between them, so that every tokenizer cuts them as it is used to;
    which token is a word's first is told by characters. A sentence that is too long becomes several examples.
    """

    name: ClassVar[str] = "tagging"
    needs: ClassVar[Mapping[str, Kind]] = {"words": "words", "tags": "tags"}
    labelled: ClassVar[str] = "tags"
    head: ClassVar[HeadKind] = "tagger"
    term: ClassVar[str] = "tag"
    measures: ClassVar[str] = "f1"

    def roles(self, records: bool = True) -> Mapping[str, Kind]:
        """Words, and a tag for each."""
        return self.needs if records else {"words": "words"}

    def examples(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """Each word once, in as few examples as have room for all."""
        frame = TextFrame(scribe.tokenizer.backend, 1)
        room = scribe.length - len(scribe.virtual) - len(frame)
        numbers = {label: number for number, label in enumerate(self.labels)}
        sentences = [" ".join(record["words"]) for record in records]
        written = scribe.tokenizer.backend.encode_batch(sentences, add_special_tokens=False)
        for record, encoding in zip(records, written, strict=True):
            firsts = _first_tokens(record["words"], encoding.offsets)
            right = np.array([numbers[tag] for tag in record["tags"]] if "tags" in record else [0] * len(firsts))
            yield [
                self._part(encoding.ids[begin:end], firsts[words] - begin, right[words], frame, scribe)
                for begin, end, words in _parts(firsts, len(encoding.ids), room)
            ]

    def scores(self, model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        """The head's scores, n N."""
        scores: Tensor = model.heads["tagger"](hidden_of(model, output)[asked.rows, asked.places])
        return scores

    def cost(self, scores: Tensor, asked: Asked) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(scores, asked.ids, reduction="sum")

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> Tagged:
        """The likeliest tag of each word; where tags are spans, one that goes on where none has begun begins one."""
        likely = shares(np.concatenate(scores))
        best = likely.argmax(-1)
        tags = tuple(self.labels[number] for number in best)
        return Tagged(bio(tags) if is_iob(self.labels) else tags, tuple(likely.max(-1).tolist()))

    def measure(self, records: Sequence[Record], told: Sequence[Tagged]) -> dict[str, float]:
        """Precision, recall and F1 of spans, of each type too; where tags are no spans, their mean over tags."""
        right, said = [record["tags"] for record in records], [one.tags for one in told]
        all_right, all_said = ([tag for tags in side for tag in tags] for side in (right, said))
        found = {"accuracy": accuracy(all_right, all_said)}
        if not is_iob(self.labels):
            return found | precision_recall_f1(all_right, all_said)._asdict()
        spans = span_f1(right, said)
        return found | spans.micro._asdict() | {f"f1.{name}": one.f1 for name, one in spans.types.items()}

    def _part(
        self, ids: Sequence[int], firsts: np.ndarray, right: np.ndarray, frame: TextFrame, scribe: Scribe
    ) -> Example:
        framed = frame.put(ids)
        places = np.minimum(firsts, max(len(ids) - 1, 0)) + framed.starts[0] + len(scribe.virtual)
        example = scribe.example(framed.ids.tolist(), framed.kinds.tolist())
        return example.change(targets={self.term: Targets(places, right)})


def _first_tokens(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """The number of each word's first token: the first that ends after the word begins.

    A word of which a tokenizer leaves nothing is read at the next token.

    Args:
        words: of a sentence.
        offsets: the characters of each token, in the words with a space between them.
    """
    lengths = np.array([len(word) + 1 for word in words])
    begins, ends = np.cumsum(lengths) - lengths, np.array([end for _, end in offsets], dtype=np.int64)
    firsts: np.ndarray = np.minimum(np.searchsorted(ends, begins, side="right"), max(len(ends) - 1, 0))
    return firsts


def _parts(firsts: np.ndarray, n_tokens: int, room: int) -> Iterator[tuple[int, int, slice]]:
    """Stretches of a sentence with room for their tokens: the first token, the one after the last, and their words.

    Args:
        firsts: the first token of each word.
        n_tokens: of the sentence.
        room: the most tokens of a stretch; of a longer word only so many are read.
    """
    word = 0
    while word < len(firsts):
        begin = int(firsts[word]) if word else 0
        ends = np.append(firsts[word + 1 :], n_tokens)
        fitting = int(np.searchsorted(ends, begin + room, side="right"))
        after = word + max(fitting, 1)
        yield begin, min(int(ends[after - word - 1]), begin + room), slice(word, after)
        word = after
