"""The span of a context that answers a question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor, nn
from torch.nn import functional

from stemma.data import Answer, Kind, Record
from stemma.errors import Fault
from stemma.metrics import exact_match, token_f1
from stemma.objectives.example import Asked, Batch, Example, Targets
from stemma.objectives.objective import Setting, read_losses
from stemma.objectives.tasks.frame import TextFrame
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.tasks.spans import Span, Window, best_spans, nothing, with_probabilities
from stemma.objectives.tasks.task import HeadKind, Task, hidden_of

SIDES = ("begin", "end")
"""Terms of the loss, in the order of the head's scores."""


@dataclass(frozen=True, kw_only=True)
class Extraction(Task):
    """-(log p(begin) + log p(end)) / 2 over the tokens of question and context (Devlin et al. 2019, section 4.2, 4.3).

    A context that is too long is read in windows; one without the answer is asked for its first token, [CLS].

    Args:
        overlap: the most tokens that a window shares with the one before.
        longest: tokens of an answer.
        n_best: how many answers are told.
        unanswerable: whether a question may have no answer.
        threshold: how much more no answer has to score than the best one; the larger, the more questions are answered.
    """

    name: ClassVar[str] = "extraction"
    needs: ClassVar[Mapping[str, Kind]] = {"question": "text", "context": "text", "answers": "spans"}
    head: ClassVar[HeadKind] = "answer"
    term: ClassVar[str] = SIDES[0]
    measures: ClassVar[str] = "f1"

    overlap: int = 128
    longest: int = 30
    n_best: int = 1
    unanswerable: bool = False
    threshold: float = 0.0

    def faults(self, setting: Setting) -> list[Fault]:
        """Numbers that are too small."""
        least = {"overlap": 0, "longest": 1, "n_best": 1}
        return [
            Fault(name, value, f"must be at least {low}", "use the usual one")
            for name, low in least.items()
            if (value := getattr(self, name)) < low
        ]

    def roles(self, records: bool = True) -> Mapping[str, Kind]:
        """A question, its context and the answers within it."""
        return {role: kind for role, kind in self.needs.items() if records or role != "answers"}

    def examples(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """A question with each window of its context."""
        backend, frame = scribe.tokenizer.backend, TextFrame(scribe.tokenizer.backend, 2)
        room = scribe.length - len(scribe.virtual) - len(frame)
        questions, contexts = (
            backend.encode_batch([record[role] for record in records], add_special_tokens=False)
            for role in ("question", "context")
        )
        for record, question, context in zip(records, questions, contexts, strict=True):
            asked = question.ids[: room // 2]
            answer = next(iter(record.get("answers", ())), None)
            yield [
                self._window(asked, context, stretch, answer, frame, scribe)
                for stretch in _stretches(len(context.ids), room - len(asked), self.overlap)
            ]

    def scores(self, model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        """Scores of a beginning and of an end at each token of each example's document, n L 2; -inf after its last."""
        told = model.heads["answer"](hidden_of(model, output))
        begins, sizes = asked.places[:, :1], asked.places[:, 1:]
        steps = torch.arange(int(sizes.max()), device=told.device)
        places = (begins + steps).clamp(max=told.shape[1] - 1)
        found: Tensor = told[asked.rows[:, None], places].masked_fill((steps >= sizes)[..., None], -torch.inf)
        return found

    def cost(self, scores: Tensor, asked: Asked) -> Tensor:
        """Cross-entropy over the tokens."""
        return functional.cross_entropy(scores, asked.ids, reduction="sum")

    def weights(self) -> Mapping[str, float]:
        """The mean of both."""
        return dict.fromkeys(SIDES, 0.5)

    def losses(self, model: Any, companions: nn.ModuleDict, batch: Batch) -> Mapping[str, Tensor]:
        """The sums of both terms over all windows, in nats."""
        return read_losses(model, batch, readers={side: partial(self._read_side, n) for n, side in enumerate(SIDES)})

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> tuple[Span, ...]:
        """The best answers, the likeliest first; with no answer among them where there may be none."""
        windows = [example for example in asked if isinstance(example, Window)]
        said = [window[0] for window in scores]
        found = best_spans(record["context"], windows, said, self.n_best, self.longest)
        if self.unanswerable or not found:
            none = nothing(said)
            found = sorted([none, *found], key=lambda one: self.threshold * (one is none) - one.score)
        return with_probabilities(found)

    def measure(self, records: Sequence[Record], told: Sequence[Sequence[Span]]) -> dict[str, float]:
        """Exact matches, and F1 of the words in common."""
        right = [[answer.text for answer in record["answers"]] for record in records]
        said = [spans[0].text for spans in told]
        return {"exact_match": exact_match(right, said), "f1": token_f1(right, said)}

    def _read_side(self, number: int, model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        return self.cost(self.scores(model, output, batch, asked)[..., number].float(), asked)

    def _window(
        self,
        question: Sequence[int],
        context: Encoding,
        stretch: slice,
        answer: Answer | None,
        frame: TextFrame,
        scribe: Scribe,
    ) -> Window:
        characters = np.array(context.offsets[stretch], dtype=np.int64).reshape(-1, 2)
        framed = frame.put(question, context.ids[stretch])
        example, first = scribe.example(framed.ids.tolist(), framed.kinds.tolist()), framed.starts[1]
        right = _tokens(characters, answer)
        places = np.array([[len(scribe.virtual), len(framed.ids)]])
        targets = {
            side: Targets(places, np.array([0 if right is None else first + right[number]]))
            for number, side in enumerate(SIDES)
        }
        return Window(example.inputs, targets, first=first, characters=characters)


def _stretches(n_tokens: int, room: int, overlap: int) -> Iterator[slice]:
    """Windows over a context, the last of them at its end."""
    step = max(room - min(overlap, room // 2), 1)
    for start in range(0, max(n_tokens - room + step, 1), step):
        yield slice(start, min(start + room, n_tokens))


def _tokens(characters: np.ndarray, answer: Answer | None) -> tuple[int, int] | None:
    """The first and the last token of an answer, where all of it is among them."""
    if answer is None or not len(characters):
        return None
    starts, ends = characters.T
    first = int(np.searchsorted(ends, answer.start, side="right"))
    last = int(np.searchsorted(starts, answer.end, side="left")) - 1
    # A token before the window may cover the answer's beginning, and one after it its end.
    whole = answer.start >= starts[0] and answer.end <= ends[-1]
    return (first, last) if whole and first <= last else None
