"""A text with gaps, filled from a record and cut to a length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Formatter

from tokenizers import Tokenizer as Backend

from stemma.data import Kind
from stemma.errors import Fault, InputError


def gaps(template: str) -> tuple[str, ...]:
    """The names of a template's gaps.

    >>> gaps("Review: {text} It was {mask}.")
    ('text', 'mask')
    """
    return tuple(name for _, name, _, _ in Formatter().parse(template) if name is not None)


def gap_roles(template: str, *others: str) -> dict[str, Kind]:
    """The roles of a record that a template's gaps are filled from.

    Args:
        template: the text.
        others: gaps that are filled otherwise.
    """
    return {name: "text" for name in gaps(template) if name not in others}


def template_faults(template: str, *others: str) -> Iterator[Fault]:
    """What is wrong with a template.

    Args:
        template: the text.
        others: gaps that it needs beside those of a record, each once.
    """
    try:
        names = gaps(template)
    except ValueError as error:
        yield Fault("template", template, f"is no template: {error}", "write a brace that is text twice: {{ or }}")
        return
    if wrong := [name for name in names if not name.isidentifier()]:
        yield Fault("template", template, f"has gaps without a plain name: {wrong}", "name roles, as {text}")
    if not set(names) - set(others):
        yield Fault("template", template, "has no gap for a text", "write where the text goes, as {text}")
    for name in others:
        if names.count(name) != 1:
            yield Fault("template", template, f"needs the gap {{{name}}} once", f"write {{{name}}} where it goes")


def fill(
    template: str, values: Mapping[str, str], backend: Backend, room: int, given: Mapping[str, str] | None = None
) -> list[int]:
    """The ids of a filled template, without special tokens; where they are too many, the longest value is cut.

    Args:
        template: the text with gaps.
        values: what fills them.
        backend: the tokenizer.
        room: the most tokens.
        given: what fills the others and is never cut.

    Raises:
        InputError: the template alone is too long.
    """
    left, fixed = {name: values[name] for name in gaps(template) if name in values}, given or {}
    ids: list[int] = backend.encode(template.format(**left, **fixed), add_special_tokens=False).ids
    while (over := len(ids) - room) > 0:
        longest = max(left, key=lambda name: len(left[name]))
        if not left[longest]:
            remedy = "shorten it, or read longer texts"
            raise InputError("template", Fault("template", template, f"leaves no room in {room} tokens", remedy))
        left[longest] = _cut(left[longest], over, backend)
        ids = backend.encode(template.format(**left, **fixed), add_special_tokens=False).ids
    return ids


def _cut(text: str, over: int, backend: Backend) -> str:
    """A text without so many of its last tokens, by at least one character shorter."""
    offsets = backend.encode(text, add_special_tokens=False).offsets
    kept = offsets[-over - 1][1] if over < len(offsets) else 0
    return text[: min(kept, len(text) - 1)]
