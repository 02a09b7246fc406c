"""Heads for a task: the classes that were published with them, and which one a network is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

from stemma.errors import Fault, SpecError
from stemma.spec.ends import Pooler
from stemma.spec.lineage import Family, Shape
from stemma.spec.mapping import ConfigRule, Ignore, Labels, Rename, Variant
from stemma.spec.tasks import AnswerHead, ClassifierHead, TaggerHead

TaskKind = Literal["classifier", "choice", "tagger", "answer"]
"""Classes of a text, or one number; how likely it is among others; tags of its tokens; an answer within it."""

LAST = ClassifierHead(reads="last", bias=False)
"""What decoders have: a map of the last token's vector."""

_USUAL: Mapping[str, ClassifierHead] = {
    "encoder-only": ClassifierHead(reads="first", dense="tanh"),
    "permutation": ClassifierHead(reads="last", dense="tanh"),
    "decoder-only": LAST,
    "encoder-decoder": ClassifierHead(reads="last", dense="tanh"),
    "recurrent": ClassifierHead(reads="concat", dense="relu"),
}


def task_heads(of: Family, spec: Shape, kind: TaskKind, n_classes: int = 2) -> tuple[Any, ...]:
    """A network's heads with the one for a task: as in the family's published class, or else as is usual.

    Args:
        of: the family.
        spec: its network, which keeps its heads, but for another of the same kind.
        kind: what the task asks for.
        n_classes: how many labels there are; a choice and an answer have none.

    Raises:
        SpecError: the kind is unknown.

    >>> from stemma.families.bert import BERT
    >>> task_heads(BERT, BERT.build(n_layers=1, d_model=8, n_heads=2, heads=()), "classifier", 3)
    (Pooler(), ClassifierHead(n_classes=3, reads='pooled', dense='none', bias=True))
    """
    if kind not in get_args(TaskKind):
        raise SpecError("task", Fault("kind", kind, "is unknown", f"use one of {', '.join(get_args(TaskKind))}"))
    match kind:
        case "tagger":
            head: Any = TaggerHead(n_classes)
        case "answer":
            head = AnswerHead()
        case _:
            choosing = kind == "choice"
            usual = next(_classifiers(of, choosing), _USUAL[spec.kind])
            head = replace(usual, n_classes=1 if choosing else n_classes)
    kept = tuple(one for one in spec.heads if one.name != head.name)
    lacking = isinstance(head, ClassifierHead) and head.reads == "pooled" and Pooler() not in kept
    return (*kept, *((Pooler(),) if lacking else ()), head)


def _classifiers(of: Family, choosing: bool) -> Iterator[ClassifierHead]:
    """Those of the family's classes, of the kind that is asked for first."""
    tasks = of.checkpoint.tasks if of.checkpoint else ()
    for variant in sorted(tasks, key=lambda variant: variant.choices != choosing):
        yield from (head for head in variant.heads if isinstance(head, ClassifierHead))


# --- Their classes ---------------------------------------------------------------------------------------------------

CLASSIFIER = {"score": "classifier"}
DENSE_CLASSIFIER = {"dense": "classifier.dense", "score": "classifier.out_proj"}
CLASSIFICATION_HEAD = {"dense": "classification_head.dense", "score": "classification_head.out_proj"}
SUMMARISED = {"dense": "sequence_summary.summary", "score": "logits_proj"}
SCORE = {"score": "score"}
"""What they call the parts of a classifier."""

# Older files of classes that read single tokens hold the pooler all the same.
_UNREAD = (Ignore("@pooler.*"), Ignore("@pooler.*.*"))


def classifying(name: str, prefix: str, head: ClassifierHead, parts: Mapping[str, str], *config: ConfigRule) -> Variant:
    """Their class for classes of a text.

    Args:
        name: what their classes' names begin with.
        prefix: see `Variant`.
        head: the head, with any number of classes.
        parts: our parts of it to theirs.
        config: see `Variant`.
    """
    weights, labels = Rename("heads.classifier", "", parts), Labels("heads.classifier.n_classes")
    return Variant(f"{name}ForSequenceClassification", _heads(head), prefix, (weights,), (labels, *config))


def choosing(name: str, prefix: str, head: ClassifierHead, parts: Mapping[str, str], *config: ConfigRule) -> Variant:
    """Their class for choices, each a row; see `classifying`."""
    heads = _heads(replace(head, n_classes=1))
    weights = Rename("heads.classifier", "", parts)
    return Variant(f"{name}ForMultipleChoice", heads, prefix, (weights,), config, choices=True)


def tagging(name: str, prefix: str, score: str = "classifier") -> Variant:
    """Their class for tags, given what they call the head's map; see `classifying`."""
    weights, labels = Rename("heads.tagger.score", score), Labels("heads.tagger.n_classes")
    return Variant(f"{name}ForTokenClassification", (TaggerHead(),), prefix, (weights, *_UNREAD), (labels,))


def answering(name: str, prefix: str, ending: str = "") -> Variant:
    """Their class for answers, given how its name ends; see `classifying`."""
    weights = Rename("heads.answer.score", "qa_outputs")
    return Variant(f"{name}ForQuestionAnswering{ending}", (AnswerHead(),), prefix, (weights, *_UNREAD))


def _heads(head: ClassifierHead) -> tuple[Pooler | ClassifierHead, ...]:
    return (Pooler(), head) if head.reads == "pooled" else (head,)
