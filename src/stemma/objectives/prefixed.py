"""Rows with virtual tokens before each of their texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stemma.objectives.example import Example, Targets

# What a virtual token is given in each input that has one number a token; None for what its document's first token has.
_GIVEN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "tokens": {"mask": True, "segments": 0, "languages": None, "tasks": 0, "documents": None, "ranks": -1},
        "decoder_tokens": {"decoder_mask": True},
    }
)
# Terms whose places are numbers of spans, of which the inputs tell where they are.
_OF_SPANS = ("boundaries",)


def with_prefix(example: Example, ids: Sequence[int], side: str = "tokens") -> Example:
    """The row with these ids before each of its documents; the same is asked about the same tokens.

    Args:
        example: a row that an objective prepared; it grows by so many tokens a document.
        ids: such as those of virtual tokens.
        side: the input in which they stand, "tokens" or "decoder_tokens".

    >>> row = Example({"tokens": np.array([5, 6, 7]), "documents": np.array([0, 0, 1])})
    >>> [with_prefix(row, (90, 91)).inputs[name].tolist() for name in ("tokens", "documents")]
    [[90, 91, 5, 6, 90, 91, 7], [0, 0, 0, 0, 1, 1, 1]]
    """
    n, inputs = len(ids), dict(example.inputs)
    begins = _begins(inputs["documents"]) if side == "tokens" and "documents" in inputs else np.zeros(1, np.int64)
    before = np.repeat(begins, n)

    def moved(places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the tokens stand then that stood here."""
        return places + n * np.searchsorted(begins, places, side="right")

    inputs[side] = np.insert(inputs[side], before, np.tile(np.array(ids, np.int64), len(begins)))
    for name, given in _GIVEN[side].items():
        if name in inputs:
            inputs[name] = np.insert(inputs[name], before, inputs[name][before] if given is None else given)
    if side == "tokens":
        if "prefix" in inputs:
            inputs["prefix"] = inputs["prefix"] + n
        if "spans" in inputs:
            inputs["spans"] = moved(inputs["spans"])
        if "places" in inputs:
            first = np.stack((np.arange(n), np.zeros(n, np.int64)))
            inputs["places"] = np.concatenate((first, inputs["places"] + np.array([[n], [0]])), 1)
    if side != ("decoder_tokens" if "decoder_tokens" in inputs else "tokens"):
        return replace(example, inputs=inputs)
    targets = {
        term: target if term in _OF_SPANS else Targets(_first(target.places, moved), target.ids)
        for term, target in example.targets.items()
    }
    return replace(example, inputs=inputs, targets=targets)


def _first(places: NDArray[np.int64], moved: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> NDArray[np.int64]:
    """Places with their positions moved; where a place has two numbers, the first is its position."""
    if places.ndim == 1:
        return moved(places)
    return np.column_stack((moved(places[:, 0]), places[:, 1:]))


def _begins(documents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the documents of a row begin."""
    return np.flatnonzero(np.diff(documents, prepend=documents[:1] - 1))
