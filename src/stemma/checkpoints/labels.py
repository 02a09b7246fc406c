"""The names of classes, as a folder's configuration tells them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stemma.errors import Fault

NAMES, PLACES, COUNT, PROBLEM = "id2label", "label2id", "num_labels", "problem_type"
CHOICE = "multiple_choice"
"""The problem of which their configuration does not speak: their class tells it."""

_USUAL = 2


def label_names(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a model's classes in their order; none where they have none.

    >>> label_names({"id2label": {"0": "negative", "1": "positive"}})
    ('negative', 'positive')
    """
    names = facts.get(NAMES)
    if names is None or any(label_faults({NAMES: names})):
        return ()
    return tuple(names[str(place)] for place in range(len(names)))


def labelled(facts: Mapping[str, Any], names: Sequence[str] = (), problem: str = "") -> dict[str, Any]:
    """The facts of a model whose classes have these names, instead of what they were before.

    Args:
        facts: of the model.
        names: of the classes in their order; none where they have none.
        problem: "regression", "single_label_classification", "multi_label_classification" or "multiple_choice";
            nothing where it does not matter.

    >>> labelled({"eos_token_id": 2, "num_labels": 9}, ("no", "yes"))
    {'eos_token_id': 2, 'id2label': {'0': 'no', '1': 'yes'}}
    """
    kept = {name: value for name, value in facts.items() if name not in (NAMES, PLACES, COUNT, PROBLEM)}
    named = {NAMES: {str(place): name for place, name in enumerate(names)}} if names else {}
    return kept | named | ({PROBLEM: problem} if problem else {})


def n_labels(config: Mapping[str, Any]) -> int:
    """How many classes a configuration without faults has."""
    names = config.get(NAMES)
    return int(config.get(COUNT) or _USUAL) if names is None else len(names)


def label_entries(names: Mapping[str, str] | None, n_classes: int) -> dict[str, Any]:
    """The entries for names, or where there are none for those that `transformers` gives.

    >>> label_entries(None, 1)
    {'id2label': {'0': 'LABEL_0'}, 'label2id': {'LABEL_0': 0}}
    """
    names = names or {str(place): f"LABEL_{place}" for place in range(n_classes)}
    return {NAMES: dict(names), PLACES: {name: int(place) for place, name in names.items()}}


def label_faults(config: Mapping[str, Any]) -> Iterator[Fault]:
    """Where the names, their places and their number are not what they should be, or contradict each other."""
    names, places, count = config.get(NAMES), config.get(PLACES), config.get(COUNT)
    if count is not None and (type(count) is not int or count < 1):
        yield Fault(COUNT, count, "must be a whole number of at least 1", "count the labels")
    if names is None:
        return
    wanted = {str(place) for place in range(len(names))} if isinstance(names, dict) else None
    if not names or set(names) != wanted or not all(isinstance(name, str) for name in names.values()):
        yield Fault(NAMES, names, 'must give each class a name: {"0": ..., "1": ...}', "correct the configuration")
        return
    if type(count) is int and count != len(names):
        yield Fault(COUNT, count, f"contradicts {NAMES}, which names {len(names)}", "remove one of the two")
    if places is None:
        return
    agreed = isinstance(places, dict) and set(places) == set(names.values())
    if not agreed or any(names.get(str(place)) != name for name, place in places.items()):
        yield Fault(PLACES, places, f"contradicts {NAMES}", f"make it the inverse, or pass ignore=({PLACES!r},)")
