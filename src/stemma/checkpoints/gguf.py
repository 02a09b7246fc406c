"""GGUF files to models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stemma.checkpoints.config import read_config
from stemma.checkpoints.gguf_header import Header, read_gguf_header
from stemma.checkpoints.quants import dequantise
from stemma.checkpoints.rules import Info
from stemma.checkpoints.stored import Stored, fill, plans
from stemma.errors import CheckpointError, Fault
from stemma.families import catalogue
from stemma.spec.ends import LanguageModelHead
from stemma.spec.lineage import Family
from stemma.spec.mapping import Gguf
from stemma.spec.pooling import Pooling, PoolingKind

_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
# What their entries are called in a Hugging Face folder, so that a converted model keeps them.
_FACTS = {
    "context_length": "max_position_embeddings",
    "tokenizer.ggml.bos_token_id": "bos_token_id",
    "tokenizer.ggml.eos_token_id": "eos_token_id",
    "tokenizer.ggml.padding_token_id": "pad_token_id",
}
_POOLINGS: Mapping[int, PoolingKind] = {1: "mean", 2: "cls", 3: "last"}


class _File:
    """The tensors of a file, mapped into memory and turned to float32 one at a time."""

    def __init__(self, path: Path, header: Header) -> None:
        self.places = header.tensors
        self.infos = {name: Info(place.shape) for name, place in header.tensors.items()}
        self.bytes = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)

    def read(self, name: str) -> Tensor:
        place = self.places[name]
        return dequantise(self.bytes[place.start : place.start + place.n_bytes], place.kind, place.shape)


def read_gguf(path: str | Path, *, dtype: torch.dtype = torch.float32) -> Stored:
    """Read a model from a GGUF file.

    Args:
        path: the file; its numbers may be F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K.
        dtype: of the model's parameters.

    Raises:
        CheckpointError: naming everything in the file that keeps it from being read as it was meant.
    """
    path = Path(path)
    try:
        header = read_gguf_header(path)
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        raise CheckpointError(str(path), Fault("file", path.name, rule, "name another file")) from None
    try:
        return _read(path, header, dtype)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.where}", error.faults) from None


def _read(path: Path, header: Header, dtype: torch.dtype) -> Stored:
    name = header.metadata.get("general.architecture")
    if (parts := header.metadata.get("split.count", 1)) not in (0, 1):
        raise CheckpointError(
            "header", Fault("split.count", parts, "must be 1", "join the parts with llama-gguf-split")
        )
    families = _families(name)
    config = {
        key.removeprefix(f"{name}."): value for key, value in header.metadata.items() if key.startswith(f"{name}.")
    }
    if _EMBEDDING not in header.tensors:
        raise CheckpointError("tensors", Fault(_EMBEDDING, None, "is missing", "use a file with the model's weights"))
    first, rules = families[0]
    heads = tuple(
        replace(head, tied=_OUTPUT not in header.tensors) if isinstance(head, LanguageModelHead) else head
        for head in rules.heads
    )
    given = {"vocab_size": header.tensors[_EMBEDDING].shape[0]}
    architecture, facts = read_config(config, rules.config, first, heads, given=given)
    file = _File(path, header)
    candidates = [(family, known.weights) for family, known in families]
    [(family, plan)] = plans(candidates, architecture, [""], len(file.infos))
    if faults := plan.faults(file.infos):
        raise CheckpointError("tensors", faults)
    known_facts = {key: value for key, value in {**header.metadata, **facts}.items() if key in _FACTS}
    return Stored(
        family,
        fill(architecture, plan, file, dtype),
        {_FACTS[key]: value for key, value in known_facts.items()},
        _pooling(facts),
        header.metadata,
    )


def _families(name: object) -> list[tuple[Family, Gguf]]:
    """The families that are written under this name, and their rules."""
    known = [(family, family.checkpoint.gguf) for family in catalogue() if family.checkpoint and family.checkpoint.gguf]
    found = [(family, rules) for family, rules in known if rules.architecture == name]
    if not found:
        names = ", ".join(dict.fromkeys(rules.architecture for _, rules in known))
        raise CheckpointError(
            "header", Fault("general.architecture", name, "is no family of the tree", f"use one of {names}")
        )
    return found


def _pooling(facts: Mapping[str, Any]) -> Pooling | None:
    """How llama.cpp embeds a text with this model; it scales every vector to length 1."""
    kind = facts.get("pooling_type")
    return Pooling(_POOLINGS[kind], normalise=True) if isinstance(kind, int) and kind in _POOLINGS else None
