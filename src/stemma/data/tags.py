"""Tags of spans in any of their forms -> IOB2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stemma.metrics.entities import IN_SPAN, entities


def bio(tags: Sequence[str]) -> tuple[str, ...]:
    """The same spans as IOB2: B- begins one, I- goes on, O is outside.

    It reads IOB1, IOB2, BIOES and BILOU, and mends what breaks off: a span that begins with I- begins with B-.

    Args:
        tags: of one sentence.

    Raises:
        InputError: tags of unknown form.

    >>> bio(["I-PER", "I-PER", "O", "S-LOC", "B-LOC", "E-LOC"])
    ('B-PER', 'I-PER', 'O', 'B-LOC', 'B-LOC', 'I-LOC')
    """
    written = ["O"] * len(tags)
    for name, start, end in entities(tags):
        written[start:end] = [f"B-{name}"] + [f"I-{name}"] * (end - start - 1)
    return tuple(written)


def is_iob(tags: Iterable[str]) -> bool:
    """Whether these tags of a whole data set are spans: "O" is among them, or each is B-, I-, E-, S-, L- or U-.

    >>> is_iob({"B-PER", "O"}), is_iob({"NOUN", "VERB"})
    (True, False)
    """
    tags = set(tags)
    return "O" in tags or (bool(tags) and all(IN_SPAN.fullmatch(tag) for tag in tags))
