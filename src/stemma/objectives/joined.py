"""Examples side by side in fewer rows, each a document of its own: packed instead of padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stemma.data.packing import fit
from stemma.objectives.example import Example, Targets


class Joined(NamedTuple):
    """One row of several examples.

    Args:
        example: the row.
        members: the numbers of the examples in it, in their order.
    """

    example: Example
    members: tuple[int, ...]


def joined(examples: Sequence[Example], length: int) -> list[Joined]:
    """Examples in as few rows as best fit finds; each of their documents stays one by itself.

    Places of targets are counted anew from the row's beginning; where a place has two numbers, the first is the
    position.

    Args:
        examples: each with "documents".
        length: the most tokens of a row; a longer example has a row of its own.
    """
    sizes = np.array([len(example.tokens) for example in examples], dtype=np.int64)
    bins = fit(np.minimum(sizes, length), length)
    order = np.argsort(bins, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(bins[order])) + 1)
    return [Joined(beside([examples[number] for number in row]), tuple(row.tolist())) for row in rows]


def beside(examples: Sequence[Example]) -> Example:
    """Examples as one, in their order; the arguments are as in `joined`."""
    if len(examples) == 1:
        return examples[0]
    lengths = [len(example.tokens) for example in examples]
    begins = np.cumsum([0, *lengths[:-1]])
    inputs = {name: np.concatenate([example.inputs[name] for example in examples]) for name in examples[0].inputs}
    n_documents = [int(example.inputs["documents"].max(initial=-1)) + 1 for example in examples]
    inputs["documents"] += np.repeat(np.cumsum([0, *n_documents[:-1]]), lengths)
    terms = dict.fromkeys(term for example in examples for term in example.targets)
    return Example(inputs, {term: _all(term, examples, begins) for term in terms})


def _all(term: str, examples: Sequence[Example], begins: np.ndarray) -> Targets:
    asking = [(example.targets[term], begin) for example, begin in zip(examples, begins, strict=True)]
    places = [_moved(targets.places, int(begin)) for targets, begin in asking]
    return Targets(np.concatenate(places), np.concatenate([targets.ids for targets, _ in asking]))


def _moved(places: np.ndarray, begin: int) -> np.ndarray:
    return places + (begin if places.ndim == 1 else np.array([begin] + [0] * (places.shape[1] - 1)))
