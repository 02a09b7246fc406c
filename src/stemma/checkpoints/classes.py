"""Which of their classes a network is written as, and which a folder may hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stemma.checkpoints.labels import CHOICE, PROBLEM, label_names, labelled
from stemma.errors import CheckpointError, Fault
from stemma.spec.architecture import Architecture
from stemma.spec.ends import Head
from stemma.spec.lineage import Family
from stemma.spec.mapping import Checkpoint, Rename, Variant, Zero
from stemma.spec.tasks import ClassifierHead, TaskHead

_PARTS = ("embeddings", "decoder_additions", "encoder", "decoder", "task_modules", "two_streams", "vision", "heads")
NATIVE = Checkpoint("stemma", (), (), tuple(Rename(part, part) for part in _PARTS))
"""A network that no class in transformers holds: our own names, told by our own file alone."""


def class_of(one: Family, architecture: Architecture, facts: Mapping[str, Any]) -> tuple[Checkpoint, Variant]:
    """The format and the class in which a network is written.

    Args:
        one: its family.
        architecture: the network.
        facts: what is known of it besides.

    Raises:
        CheckpointError: the family has classes, but none with these heads, of which none is a task's.
    """
    if one.checkpoint is None:
        return native(architecture)
    classes = one.checkpoint.classes
    choosing = facts.get(PROBLEM) == CHOICE
    for variant in sorted(classes, key=lambda variant: variant.choices != choosing):
        if _fixed(variant, variant.heads) == _fixed(variant, architecture.heads):
            return one.checkpoint, variant
    if has_task(architecture.heads):
        return native(architecture)
    names = " or ".join("(" + ", ".join(type(head).__name__ for head in variant.heads) + ")" for variant in classes)
    held = [kind.__name__ for kind in kinds(architecture.heads)]
    raise CheckpointError(one.name, Fault("heads", held, "are those of no class of this format", f"use {names}"))


def native(architecture: Architecture) -> tuple[Checkpoint, Variant]:
    """Our own format for a network."""
    return NATIVE, Variant("Model", architecture.heads)


def likely(classes: Sequence[Variant], named: object) -> list[Variant]:
    """The classes that a configuration names, then those with more heads, of which its own were left out.

    One with fewer heads is never taken for it: a head that is missing from a file is an error. Where no known class is
    named, any may fit.
    """
    first = [variant for variant in classes if isinstance(named, list) and variant.name in named]
    others = [variant for variant in classes if variant not in first]
    if not first:
        return others
    return first + [one for one in others if any(kinds(one.heads) > kinds(known.heads) for known in first)]


def told_facts(variant: Variant, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a model that config.json tells of this class: labels where it counts them."""
    told = {name: value for name, value in facts.items() if (name, value) != (PROBLEM, CHOICE)}
    if not has_task(variant.heads):
        return told
    return labelled(told, label_names(told) if variant.counts else (), told.get(PROBLEM) or "")


def told_by_tensors(checkpoint: Checkpoint, variant: Variant) -> set[str]:
    """Paths that their configuration does not tell, because the tensors do."""
    rules = checkpoint.weights_of(variant)
    zeros = {rule.theirs for rule in rules if isinstance(rule, Zero)}
    # The one parameter with a full name in the tables is called as the field that asks for it: heads.lm.bias.
    told = {rule.ours for rule in rules if isinstance(rule, Rename) and rule.theirs in zeros}
    return told | ({"heads.lm.tied"} if checkpoint.untied_by else set())


def kinds(heads: Iterable[Head]) -> set[type[Head]]:
    """The kinds of heads."""
    return {type(head) for head in heads}


def has_task(heads: Iterable[Head]) -> bool:
    """Whether one of the heads is a task's."""
    return any(isinstance(head, TaskHead) for head in heads)


def _fixed(variant: Variant, heads: Iterable[Head]) -> set[object]:
    """What a class fixes of heads: kinds, and of a classifier all but how many classes it has where it counts them."""
    classifiers = {head for head in heads if isinstance(head, ClassifierHead)}
    return {*kinds(heads), *({replace(one, n_classes=1) for one in classifiers} if variant.counts else classifiers)}
