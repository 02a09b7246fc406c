"""One row as a network reads it and what is asked about it; and many of them as tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = Mapping[str, NDArray[Any]]

# What fills a shorter row; the rest of the inputs are filled with zeros.
_FILLS = {"documents": -1, "ranks": -1, "mask": False, "decoder_mask": False}
# Inputs that have one number a row, and those of two tables.
_BY_ROW, _TABLES = ("prefix",), ("places",)


@dataclass(frozen=True)
class Targets:
    """What is to be predicted, and where.

    Args:
        places: where in the row each prediction is read: a position, or a span's number and a place in it (n x 2).
        ids: what is right: a token, or a class.
    """

    places: NDArray[np.int64]
    ids: NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """One row, ready for a network.

    Args:
        inputs: by their names in `stemma.nn.Inputs`, each of one row; "tokens" is always there.
        targets: by the name of the loss's term.
        draws: numbers that the loss needs, drawn with the row: for each term one a target.
    """

    inputs: Arrays
    targets: Mapping[str, Targets] = field(default_factory=dict)
    draws: Arrays = field(default_factory=dict)

    @property
    def tokens(self) -> NDArray[np.int64]:
        """The ids that are read, those of an encoder where there are two stacks."""
        return self.inputs["tokens"]

    def change(self, *, inputs: Arrays | None = None, targets: Mapping[str, Targets] | None = None) -> Example:
        """The same with other inputs or further targets."""
        return replace(self, inputs={**self.inputs, **(inputs or {})}, targets={**self.targets, **(targets or {})})


@dataclass(frozen=True)
class Asked:
    """The targets of one term over a batch.

    Args:
        rows: of the batch, n.
        places: as in `Targets`, n or n x 2.
        ids: n.
        draws: n numbers, where the loss needs them.
    """

    rows: Tensor
    places: Tensor
    ids: Tensor
    draws: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """Rows of one length.

    Args:
        inputs: by their names in `stemma.nn.Inputs`, B rows each.
        asked: by the name of the loss's term.
        n_tokens: real tokens that are read, the decoder's too.
    """

    inputs: Mapping[str, Tensor]
    asked: Mapping[str, Asked]
    n_tokens: int

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""

        def moved(x: Tensor | None) -> Any:
            return None if x is None else x.to(device, non_blocking=True)

        asked = {
            term: Asked(moved(one.rows), moved(one.places), moved(one.ids), moved(one.draws))
            for term, one in self.asked.items()
        }
        return Batch({name: moved(x) for name, x in self.inputs.items()}, asked, self.n_tokens)


def collate(examples: Sequence[Example], *, pad: int = 0, multiple: int = 1, length: int | None = None) -> Batch:
    """Rows side by side; the shorter ones are padded on the right. Where each is one document, a mask says so.

    Args:
        examples: of one pass.
        pad: the id that fills tokens.
        multiple: lengths are rounded up to a multiple of this, so that few different ones occur.
        length: of every row, where it is known; not of a decoder's.
    """
    inputs: dict[str, Tensor] = {}
    for name in examples[0].inputs:
        rows = [example.inputs[name] for example in examples]
        if name in _BY_ROW:
            inputs[name] = torch.tensor([int(row) for row in rows])
            continue
        longest = max(row.shape[_axis(name)] for row in rows)
        wanted = None if name.startswith("decoder") else length
        width = longest if name == "spans" else wanted or -(-longest // multiple) * multiple
        inputs[name] = torch.from_numpy(_filled(name, rows, width, pad))
    if "documents" in inputs and not any(example.inputs["documents"].any() for example in examples):
        del inputs["documents"]
    for tokens, mask in (("tokens", "mask"), ("decoder_tokens", "decoder_mask")):
        lengths = np.array([len(example.inputs[tokens]) for example in examples if tokens in example.inputs])
        separate = "documents" in inputs and tokens == "tokens"
        if len(lengths) and not separate and mask not in inputs and lengths.min() < inputs[tokens].shape[1]:
            inputs[mask] = torch.from_numpy(np.arange(inputs[tokens].shape[1]) < lengths[:, None])
    terms = dict.fromkeys(term for example in examples for term in example.targets)
    read = sum(len(e.inputs[name]) for e in examples for name in ("tokens", "decoder_tokens") if name in e.inputs)
    return Batch(inputs, {term: _ask(term, examples) for term in terms}, read)


def _axis(name: str) -> int:
    """That of the positions, in one row."""
    return 1 if name in _TABLES else 0


def _filled(name: str, rows: Sequence[NDArray[Any]], width: int, pad: int) -> NDArray[Any]:
    fill = pad if name.endswith("tokens") and rows[0].ndim == 1 else _FILLS.get(name, 0)
    shape, axis = list(rows[0].shape), _axis(name)
    shape[axis] = width
    shape.insert(axis, len(rows))
    whole = np.full(shape, fill, dtype=rows[0].dtype)
    for number, row in enumerate(rows):
        whole[(slice(None),) * axis + (number, slice(0, row.shape[axis]))] = row
    return whole


def _ask(term: str, examples: Iterable[Example]) -> Asked:
    asking = [(number, example) for number, example in enumerate(examples) if term in example.targets]
    targets = [example.targets[term] for _, example in asking]
    rows = np.repeat([number for number, _ in asking], [len(target.ids) for target in targets])
    draws = [example.draws[term] for _, example in asking if term in example.draws]
    return Asked(
        torch.from_numpy(rows.astype(np.int64)),
        torch.from_numpy(np.concatenate([target.places for target in targets])),
        torch.from_numpy(np.concatenate([target.ids for target in targets])),
        torch.from_numpy(np.concatenate(draws)) if draws else None,
    )
