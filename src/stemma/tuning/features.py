"""Features of examples: computed once by a network that does not learn, and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stemma.adaptation import Adaptation, Frozen
from stemma.adaptation.base import describe
from stemma.adaptation.changes import changes_of, using
from stemma.adaptation.features import Combined, Features, last_stack
from stemma.checkpoints.atomic import new_folder
from stemma.nn.outputs import Output
from stemma.objectives import Example, Targets, collate
from stemma.objectives.tasks import Task
from stemma.spec.tasks import ClassifierHead

FOLDER = "features"
_ROWS = 32


class FeatureNetwork(nn.Module):
    """The heads of a network on features that were computed before.

    Args:
        model: the network, whose heads, and whose mix of layers, learn.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.architecture = model.architecture
        self.heads = model.heads
        self.combined = _combined(model)

    def forward(self, tokens: Tensor, *, features: Tensor, **given: Any) -> Output:
        """What the network would give, had it read the texts.

        Args:
            tokens: of the places that are asked about.
            features: of each, B S D, or B S L D where layers are mixed.
            given: what is not read.
        """
        mixed = self.combined is not None and self.combined.mix is not None
        return Output(hidden=self.combined.combine(features.unbind(2)) if self.combined and mixed else features)


def extracts(adaptations: Sequence[Adaptation]) -> bool:
    """Whether nothing of a network changes by these, so that its features can be kept."""
    return all(isinstance(one, Frozen | Features) for one in adaptations)


def kept_features(model: Any, task: Task, examples: Sequence[Example], folder: Path, pad: int = 0) -> list[Example]:
    """Examples whose tokens are their features, read from disk where they have been computed before.

    Args:
        model: the network.
        task: what is asked; where it reads single places, only theirs are kept.
        examples: as the network reads them.
        folder: of all kept features.
        pad: the id that fills rows.
    """
    places = [_places(task, model.architecture, example) for example in examples]
    ends = np.cumsum([len(one) for one in places])
    path = folder / _key(model, examples, places) / "features.npy"
    if not path.is_file():
        width, n_places = _width(model), sum(map(len, places))
        with new_folder(path.parent) as partial:
            table = np.lib.format.open_memmap(partial / path.name, "w+", np.float32, (n_places, *width))
            for number, rows in _computed(model, examples, places, pad):
                table[ends[number] - len(rows) : ends[number]] = rows
            table.flush()
    table = np.load(path, mmap_mode="r")
    return [
        _reading(example, at, table[end - len(at) : end])
        for example, at, end in zip(examples, places, ends, strict=True)
    ]


def _places(task: Task, spec: Any, example: Example) -> np.ndarray:
    """The places of an example whose features are needed."""
    head = spec.head(ClassifierHead)
    whole = task.head == "answer" or (task.head == "classifier" and head.reads == "concat")
    if whole or any(targets.places.ndim > 1 for targets in example.targets.values()):
        return np.arange(len(example.tokens))
    return np.unique(np.concatenate([targets.places for targets in example.targets.values()]))


def _reading(example: Example, places: np.ndarray, features: np.ndarray) -> Example:
    """An example of its features alone."""
    kept = (name for name in ("tokens", "documents", "decoder_tokens") if name in example.inputs)
    inputs = {name: example.inputs[name][places] for name in kept} | {"features": features}
    if len(places) == len(example.tokens):
        return Example(inputs, example.targets)
    targets = {term: Targets(np.searchsorted(places, one.places), one.ids) for term, one in example.targets.items()}
    return Example(inputs, targets)


def _computed(
    model: Any, examples: Sequence[Example], places: Sequence[np.ndarray], pad: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The number of each example and the features at its places; those of like length are read together."""
    order = sorted(range(len(examples)), key=lambda number: len(examples[number].tokens))
    combined, device = _combined(model), next(model.parameters()).device
    model.eval()
    for first in range(0, len(order), _ROWS):
        some = order[first : first + _ROWS]
        batch = collate([examples[number] for number in some], pad=pad).to(device)
        with torch.inference_mode():
            if combined is not None and combined.mix is not None:
                with using():
                    found = model(**batch.inputs, scores=False, hiddens=True).hiddens
                hidden = torch.stack(found[-combined.layers :], 2)
            else:
                hidden = model(**batch.inputs, scores=False).hidden
        for number, row in zip(some, hidden.float().cpu().numpy(), strict=True):
            yield number, row[places[number]]


def _combined(model: Any) -> Combined | None:
    held = None if not hasattr(model, "encoder") else changes_of(last_stack(model))
    return next((one for one in held.values() if isinstance(one, Combined)), None) if held is not None else None


def _width(model: Any) -> tuple[int, ...]:
    combined, spec = _combined(model), model.architecture
    width = getattr(spec, "d_model", 0) or spec.outputs[-1]
    return (combined.layers, width) if combined is not None and combined.mix is not None else (width,)


def _key(model: Any, examples: Sequence[Example], places: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(describe(model, ()), sort_keys=True).encode())
    combined = _combined(model)
    digest.update(repr(None if combined is None else (combined.layers, combined.mix is not None)).encode())
    for example, at in zip(examples, places, strict=True):
        for name in sorted(example.inputs):
            digest.update(np.ascontiguousarray(example.inputs[name]).tobytes())
        digest.update(at.tobytes())
    return digest.hexdigest()[:16]
