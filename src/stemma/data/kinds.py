"""What stands in a file -> the value that a role of a task takes, or why it cannot be one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "label", "number", "words", "tags", "spans", "texts"]


class Unfit(Exception):
    """A value that is not of its kind; the reader of the file adds where it stands.

    Args:
        rule: that it breaks.
        remedy: what to do.
    """

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(rule, remedy)
        self.rule, self.remedy = rule, remedy


@dataclass(frozen=True)
class Answer:
    """A span of a context that answers a question.

    Args:
        text: as it stands in the context.
        start: its first character's place in the context, from 0.
    """

    text: str
    start: int

    @property
    def end(self) -> int:
        """The place after its last character."""
        return self.start + len(self.text)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise Unfit("is no text", "name a column of text")
    if not value.strip():
        raise Unfit("is empty", "fill it in or remove the record")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unfit("holds bytes or halves of pairs that are no UTF-8", "convert the file to UTF-8") from None
    return value


def _label(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else _string(value)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise Unfit("is no number", "write it as 3.5") from None
    if isinstance(value, bool) or not math.isfinite(number):
        raise Unfit("is no finite number", "correct it or remove the record")
    return number


def _list(value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
        raise Unfit("is no list of texts", "name a column of lists, or several columns of text")
    return tuple(_label(item) for item in value)


def _words(value: object) -> tuple[str, ...]:
    """A list, or a text whose words stand between spaces."""
    return _list(_string(value).split() if isinstance(value, str) else value)


def _tags(value: object, record: Mapping[str, Any]) -> tuple[str, ...]:
    tags = _words(value)
    if "words" in record and len(tags) != len(record["words"]):
        rule = f"are {len(tags)} for {len(record['words'])} words"
        raise Unfit(rule, "give one for each word")
    return tags


def _spans(value: Any, record: Mapping[str, Any]) -> tuple[Answer, ...]:
    """SQuAD's {"text": [...], "answer_start": [...]}, or a list of {"text": ..., "answer_start" or "start": ...}."""
    try:
        if isinstance(value, Mapping):
            texts, starts = value["text"], value.get("answer_start", value.get("start"))
            found = [Answer(text, start) for text, start in zip(texts, starts, strict=True)]
        else:
            found = [Answer(item["text"], item.get("answer_start", item.get("start"))) for item in value]
    except (TypeError, KeyError, AttributeError, ValueError):
        raise Unfit("is no list of answers", 'write it as {"text": [...], "answer_start": [...]}') from None
    for answer in found:
        _check_answer(answer, record.get("context", ""))
    return tuple(found)


def _check_answer(answer: Answer, context: str) -> None:
    text, start = _string(answer.text), answer.start
    if type(start) is not int:
        raise Unfit(f"starts at {start!r}, which is no whole number", "count characters from 0")
    if not 0 <= start <= answer.end <= len(context):
        rule = f"has a span from {start} to {answer.end}, outside the context of {len(context)} characters"
        raise Unfit(rule, "count characters from 0")
    if (there := context[start : answer.end]) != text:
        raise Unfit(f"says {text!r} where the context has {there!r}", "correct answer_start, in characters")


KINDS: Mapping[Kind, Callable[[Any, Mapping[str, Any]], Any]] = {
    "text": lambda value, record: _string(value),
    "label": lambda value, record: _label(value),
    "number": lambda value, record: _number(value),
    "words": lambda value, record: _words(value),
    "texts": lambda value, record: _list(value),
    "tags": _tags,
    "spans": _spans,
}
"""How each kind is read; the second argument is what the record holds so far."""
