"""What a loaded model tells of texts, where it has learnt a task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stemma.data import Record
from stemma.errors import Fault, InputError
from stemma.metrics import entities
from stemma.objectives.tasks import (
    Choice,
    Classification,
    Cloze,
    Extraction,
    Span,
    Tagged,
    Tagging,
    Task,
    TextToLabel,
)
from stemma.prediction.predict import predict, scribe_of
from stemma.prediction.task_file import Learnt, task_of
from stemma.text import Tokenizer

# A word with what joins its parts, or a mark by itself.
_WORD = re.compile(r"\w+(?:['’.&-]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class Mention:
    """A stretch of a sentence, and what it is.

    Args:
        type: the label, without B- or I-.
        text: as it stands there.
        start: its first character.
        end: the one after its last.
        score: the mean of its words' probabilities.
    """

    type: str
    text: str
    start: int
    end: int
    score: float


class Tells:
    """Verbs of a model that has learnt a task, or was published with a head for one."""

    name: str
    model: Any
    facts: Mapping[str, Any]
    learnt: Learnt | None

    def tell(self, records: Sequence[Record]) -> list[Any]:
        """The answer to each record of the task that the model has learnt.

        Args:
            records: values by their roles, as {"text": "..."}; see `Task.roles`.

        Raises:
            InputError: where there is no such task, or records lack a role.
        """
        learnt = self.learnt or Learnt(self._task(Task, "a task"))
        return self._told(learnt, records)

    def classify(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[dict[str, float]]:
        """The probability of each class of each text, the likeliest first.

        Args:
            texts: at least none.
            pairs: a second text for each, where the model reads two.

        Raises:
            InputError: where the model tells no classes, or texts and pairs are not what it reads.
        """
        task = self._task((Classification, Cloze, TextToLabel), "classes of a text")
        faults = [*_not_texts("texts", texts), *(_not_texts("pairs", pairs) if pairs is not None else [])]
        if pairs is not None and len(pairs) != len(texts):
            faults.append(Fault("pairs", len(pairs), f"are not as many as the {len(texts)} texts", "give one for each"))
        if isinstance(task, Classification) and self.learnt is None:
            task = replace(task, pair=pairs is not None)
        reads = "second" in task.roles(records=False)
        if reads != (pairs is not None):
            rule, remedy = (
                ("are read by this model", "give them") if reads else ("are not read by it", "leave them out")
            )
            faults.append(Fault("pairs", None if pairs is None else "given", rule, remedy))
        if faults:
            raise InputError(self.name, faults)
        seconds = [{} if pairs is None else {"second": second} for second in pairs or texts]
        return self._told(self._as(task), [{"text": text, **two} for text, two in zip(texts, seconds, strict=True)])

    def tag(self, sentences: Sequence[str | Sequence[str]]) -> list[list[Mention]]:
        """What each sentence mentions, or the tag of each word where tags are no spans.

        Args:
            sentences: texts, or lists of words; places in those are counted as if a space stood between words.

        Raises:
            InputError: where the model tags no words, or sentences are none.
        """
        task = self._task(Tagging, "tags of words")
        if isinstance(sentences, str) or any(not "".join(sentence).strip() for sentence in sentences):
            rule = "must be a sequence of texts, or of lists of words, none of them empty"
            raise InputError(self.name, Fault("sentences", sentences, rule, "write [sentence]"))
        texts = [sentence if isinstance(sentence, str) else " ".join(sentence) for sentence in sentences]
        places = [_places(sentence) for sentence in sentences]
        records = [
            {"words": tuple(text[start:end] for start, end in spots)} for text, spots in zip(texts, places, strict=True)
        ]
        told = self._told(self._as(task), records)
        return [_mentions(*one) for one in zip(texts, places, told, strict=True)]

    def answer(
        self,
        question: str,
        context: str,
        n_best: int = 1,
        *,
        longest: int | None = None,
        threshold: float | None = None,
    ) -> list[Span]:
        """The likeliest answers to a question, the best first; one of text "" says that there is none.

        Args:
            question: a text.
            context: in which the answer stands; of any length.
            n_best: how many answers.
            longest: the most tokens of one; the model's own where not given.
            threshold: how much more no answer has to score than the best one, where there may be none.

        Raises:
            InputError: where the model finds no answers, or a text is empty.
        """
        task = self._task(Extraction, "answers in a context")
        if faults := [*_not_texts("question", [question]), *_not_texts("context", [context])]:
            raise InputError(self.name, faults)
        if threshold is not None:
            task = replace(task, threshold=threshold, unanswerable=True)
        task = replace(task, n_best=n_best, longest=task.longest if longest is None else longest)
        (spans,) = self._told(self._as(task), [{"question": question, "context": context}])
        return list(spans)

    def choose(self, text: str, choices: Sequence[str], **others: str) -> list[float]:
        """The probability of each choice after a text.

        Args:
            text: what precedes.
            choices: at least two.
            others: what else the task's template has gaps for, as question="cause".

        Raises:
            InputError: where the model weighs no choices, or a text is empty.
        """
        task = self._task(Choice, "which of several texts fits")
        faults = [*_not_texts("text", [text]), *_not_texts("choices", choices)]
        if len(choices) < 2:
            faults.append(Fault("choices", choices, "must be at least two", "give more"))
        if faults:
            raise InputError(self.name, faults)
        (shares,) = self._told(self._as(task), [{"text": text, "choices": tuple(choices), **others}])
        return list(shares)

    def _as(self, task: Task) -> Learnt:
        return Learnt(task, None if self.learnt is None else self.learnt.length)

    def _told(self, learnt: Learnt, records: Sequence[Record]) -> list[Any]:
        roles = learnt.task.roles(records=False)
        faults = [
            Fault(f"record {number}: {role}", None, "is missing", f"give {', '.join(roles)}")
            for number, record in enumerate(records, 1)
            for role in roles
            if role not in record
        ]
        if faults:
            raise InputError(self.name, faults)
        start = self.facts.get("decoder_start_token_id")
        scribe = scribe_of(self._ready(), self._reader(), learnt.length, start=start)
        return predict(self.model, scribe, learnt.task, records)

    def _task(self, kind: Any, what: str) -> Any:
        """The model's task, if it is of this kind."""
        spec = self.model.architecture
        task = task_of(spec, self.facts) if self.learnt is None else self.learnt.task
        if isinstance(task, kind):
            return task
        heads = ", ".join(head.name for head in spec.heads) or "no head"
        held = f"a network with {heads}" if task is None else f"of the task {task.name}"
        remedy = "name a model that does, or adapt one: stemma adapt RUN.toml"
        raise InputError(self.name, Fault("model", held, f"does not tell {what}", remedy))

    def _ready(self) -> Any:
        raise NotImplementedError

    def _reader(self) -> Tokenizer:
        raise NotImplementedError


def _not_texts(name: str, texts: Any) -> list[Fault]:
    """The fault of what is no sequence of texts with something in them."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        return [Fault(name, texts, "must be a sequence of strings", "write [text]")]
    return [
        Fault(f"{name}[{number}]", text, "must hold more than white space", "give some text")
        for number, text in enumerate(texts)
        if not text.strip()
    ]


def _places(sentence: str | Sequence[str]) -> list[tuple[int, int]]:
    """Where the words of a sentence begin and end."""
    if isinstance(sentence, str):
        return [match.span() for match in _WORD.finditer(sentence)]
    ends = [sum(map(len, sentence[: number + 1])) + number for number in range(len(sentence))]
    return [(end - len(word), end) for word, end in zip(sentence, ends, strict=True)]


def _mentions(text: str, places: Sequence[tuple[int, int]], told: Tagged) -> list[Mention]:
    """The spans that tags mean; each word where they mean none."""
    spans = not any(tag != "O" and tag[:2] not in ("B-", "I-") for tag in told.tags)
    found = entities(told.tags) if spans else [(tag, place, place + 1) for place, tag in enumerate(told.tags)]
    return [
        Mention(
            name,
            text[places[first][0] : places[after - 1][1]],
            places[first][0],
            places[after - 1][1],
            sum(told.probabilities[first:after]) / (after - first),
        )
        for name, first, after in found
    ]
