"""Hugging Face folders to models and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from stemma.checkpoints.architecture_json import decode_architecture, encode_architecture
from stemma.checkpoints.atomic import new_folder
from stemma.checkpoints.config import Facts, differences, read_config, write_config
from stemma.checkpoints.pooling import read_pooling, write_pooling
from stemma.checkpoints.processing import check_processing, write_processing
from stemma.checkpoints.rules import Plan, identical, make_plan
from stemma.checkpoints.safety import read_json
from stemma.checkpoints.stored import Stored, fill, plans, sizes_of
from stemma.checkpoints.weights import SHARD_BYTES, Weights, write_weights
from stemma.errors import CheckpointError, Fault, SpecError
from stemma.families import catalogue, family
from stemma.spec.architecture import Architecture
from stemma.spec.ends import Head, LanguageModelHead
from stemma.spec.lineage import Family
from stemma.spec.mapping import Checkpoint, Rename, Tie, Variant, Zero

_OWN_FILE, _OWN_FORMAT = "stemma.json", 1
_PARTS = ("embeddings", "decoder_additions", "encoder", "decoder", "task_modules", "two_streams", "vision", "heads")
# A folder of a family that has no class in transformers: our own names, told by our own file alone.
_NATIVE = Checkpoint("stemma", (), (), tuple(Rename(part, part) for part in _PARTS))


@dataclass(frozen=True)
class _Reading:
    """One way to understand a folder."""

    family: Family
    architecture: Architecture
    facts: Facts
    plan: Plan
    faults: Sequence[Fault]


def read_folder(
    folder: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    ignore: Collection[str] = (),
    allow_pickle: bool = False,
) -> Stored:
    """Read a model as `transformers` or `write_folder` saved it.

    Args:
        folder: holds config.json and the weights.
        dtype: of the model's parameters, whatever the file's.
        ignore: patterns of configuration keys and tensor names to pass over, such as "classifier.*".
        allow_pickle: read pytorch_model.bin where there is no safetensors file; by `weights_only` alone.

    Raises:
        CheckpointError: naming everything in the folder that keeps it from being read as it was meant.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    families = _families(config, folder)
    checkpoint = _checkpoint(families[0])
    weights = Weights(folder, checkpoint.spellings, allow_pickle=allow_pickle)
    weights.drop([name for name in weights.infos if any(fnmatch(name, pattern) for pattern in ignore)])
    pooling = read_pooling(folder)
    try:
        own = _read_own(folder)
        readings = _own_readings(own, config, weights, ignore) if own else _readings(families, config, weights, ignore)
        best: _Reading | None = None
        for reading in readings:
            if best is None or len(reading.faults) < len(best.faults):
                best = reading
            if not reading.faults:
                break
        assert best, "every family has a variant"
        if best.faults:
            raise CheckpointError("weights", best.faults)
        if best.architecture.vision is not None:
            check_processing(folder, best.architecture.vision)
        model = fill(best.architecture, best.plan, weights, dtype)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error.where}", error.faults) from None
    return Stored(best.family, model, best.facts, pooling)


def write_folder(
    stored: Stored,
    folder: str | Path,
    *,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write a folder that `transformers` opens, and with a pooling sentence-transformers too.

    The folder appears once all of it is written.

    Args:
        stored: what to write.
        folder: must not stand yet.
        overwrite: replace it where it does.
        shard_bytes: the most bytes of one weights file.
        beside: writes further files, such as a tokenizer's, into the folder that it is given.

    Raises:
        CheckpointError: the folder stands already, or their format cannot hold this architecture.
    """
    folder, own = Path(folder), stored.architecture
    checkpoint = _checkpoint(stored.family)
    variant = _variant(stored.family, own)
    config = {}
    if checkpoint is not _NATIVE:
        kept = _told_by_tensors(checkpoint)
        config = write_config(own, checkpoint.config, stored.family, variant.heads, stored.facts, kept=kept)
    parameters = {name: parameter.detach() for name, parameter in stored.model.named_parameters()}
    shapes = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
    plan = make_plan(shapes, checkpoint.weights, sizes=sizes_of(own), prefix=variant.prefix)
    dtype = str(next(iter(parameters.values())).dtype).removeprefix("torch.")
    header = {"architectures": [variant.name], "model_type": checkpoint.model_type, "dtype": dtype}
    with new_folder(folder, overwrite=overwrite) as partial:
        write_weights(plan.write(parameters), partial, shard_bytes)
        _write_json(partial / "config.json", header | config)
        _write_json(partial / _OWN_FILE, _own_content(stored))
        if stored.pooling is not None:
            write_pooling(stored.pooling, partial, own.d_model)
        if own.vision is not None:
            write_processing(own.vision, partial)
        if beside is not None:
            beside(partial)


def _families(config: Mapping[str, Any], folder: Path) -> list[Family]:
    model_type = config.get("model_type")
    if model_type == _NATIVE.model_type:
        if own := _read_own(folder):
            return [own[0]]
        rule, remedy = f"is told by {_OWN_FILE} alone, which is missing", "save the model again"
        raise CheckpointError(str(folder / "config.json"), Fault("model_type", model_type, rule, remedy))
    known = {known.checkpoint.model_type: known for known in catalogue() if known.checkpoint}
    if model_type not in known:
        rule, remedy = "is no family of the tree", f"use one of {', '.join(known)}"
        raise CheckpointError(str(folder / "config.json"), Fault("model_type", model_type, rule, remedy))
    return [one for one in catalogue() if one.checkpoint and one.checkpoint.model_type == model_type]


def _checkpoint(one: Family) -> Checkpoint:
    return one.checkpoint or _NATIVE


def _readings(
    families: Sequence[Family], config: Mapping[str, Any], weights: Weights, ignore: Collection[str]
) -> Iterator[_Reading]:
    """Ways to understand a folder of theirs: the class that it names first, then the family's others."""
    formats: dict[int, list[Family]] = {}
    for one in families:
        formats.setdefault(id(_checkpoint(one).config), []).append(one)
    failures = []
    for kin in formats.values():
        try:
            yield from _readings_in(kin, config, weights, ignore)
        except CheckpointError as error:
            failures.append(error)
    if len(failures) == len(formats):
        raise failures[0]


def _readings_in(
    families: Sequence[Family], config: Mapping[str, Any], weights: Weights, ignore: Collection[str]
) -> Iterator[_Reading]:
    """The same for families whose configurations have the same entries."""
    checkpoint = _checkpoint(families[0])
    variants = _likely(checkpoint.variants, config.get("architectures"))
    prefixes = [variant.prefix for variant in variants]
    for variant in variants:
        architecture, facts = read_config(config, checkpoint.config, families[0], variant.heads, ignore=ignore)
        architecture = _untied(architecture, checkpoint, weights)
        candidates = [(one, _checkpoint(one).weights) for one in families]
        for one, plan in plans(candidates, architecture, [variant.prefix, *prefixes, ""], len(weights.infos)):
            yield _Reading(one, architecture, facts, plan, plan.faults(weights.infos))


def _likely(variants: Sequence[Variant], named: object) -> list[Variant]:
    """The classes that a configuration names, then those with more heads, of which its own were left out.

    One with fewer heads is never taken for it: a head that is missing from a file is an error. Where no known class is
    named, any may fit.
    """
    first = [variant for variant in variants if isinstance(named, list) and variant.name in named]
    others = [variant for variant in variants if variant not in first]
    if not first:
        return others
    return first + [one for one in others if any(_kinds(one.heads) > _kinds(known.heads) for known in first)]


def _kinds(heads: Iterable[Head]) -> set[type[Head]]:
    return {type(head) for head in heads}


def _own_readings(
    own: tuple[Family, Architecture], config: Mapping[str, Any], weights: Weights, ignore: Collection[str]
) -> Iterator[_Reading]:
    """The one way to understand a folder of ours, once config.json is known to say the same."""
    one, architecture = own
    checkpoint, variant = _checkpoint(one), _variant(one, architecture)
    facts = {} if checkpoint is _NATIVE else _agreed_facts(one, architecture, config, ignore)
    for _, plan in plans([(one, checkpoint.weights)], architecture, [variant.prefix], len(weights.infos)):
        yield _Reading(one, architecture, facts, plan, plan.faults(weights.infos))


def _agreed_facts(one: Family, architecture: Architecture, config: Mapping[str, Any], ignore: Collection[str]) -> Facts:
    """What config.json adds to our file; they must not contradict each other."""
    checkpoint, variant = _checkpoint(one), _variant(one, architecture)
    rules = checkpoint.config
    told, facts = read_config(config, rules, one, variant.heads, ignore=ignore)
    kept = _told_by_tensors(checkpoint)
    retold, _ = read_config(
        write_config(architecture, rules, one, variant.heads, facts, kept=kept), rules, one, variant.heads
    )
    if different := differences(retold, told):
        remedy = f"correct one of the two, or delete {_OWN_FILE}"
        raise CheckpointError(
            _OWN_FILE,
            [
                Fault(path, mine, f"contradicts config.json, where it is {theirs!r}", remedy)
                for path, mine, theirs in different
            ],
        )
    return facts


def _variant(one: Family, architecture: Architecture) -> Variant:
    """Their class with the same kinds of heads."""
    if one.checkpoint is None:
        return Variant("Model", architecture.heads)
    kinds = _kinds(architecture.heads)
    variants = _checkpoint(one).variants
    for variant in variants:
        if _kinds(variant.heads) == kinds:
            return variant
    names = " or ".join("(" + ", ".join(type(head).__name__ for head in variant.heads) + ")" for variant in variants)
    held = [kind.__name__ for kind in kinds]
    raise CheckpointError(one.name, Fault("heads", held, "are those of no class of this format", f"use {names}"))


def _told_by_tensors(checkpoint: Checkpoint) -> set[str]:
    """Paths that their configuration does not tell, because the tensors do."""
    zeros = {rule.theirs for rule in checkpoint.weights if isinstance(rule, Zero)}
    # The one parameter with a full name in the tables is called as the field that asks for it: heads.lm.bias.
    told = {rule.ours for rule in checkpoint.weights if isinstance(rule, Rename) and rule.theirs in zeros}
    return told | ({"heads.lm.tied"} if checkpoint.untied_by else set())


def _untied(architecture: Architecture, checkpoint: Checkpoint, weights: Weights) -> Architecture:
    """With an output of its own, where the tensor that would hold it differs from the embedding."""
    output = checkpoint.untied_by
    original = next((rule.to for rule in checkpoint.weights if isinstance(rule, Tie) and rule.theirs == output), "")
    if output not in weights.infos or original not in weights.infos:
        return architecture
    if identical(weights.read(output), weights.read(original)):
        return architecture
    return architecture.change(
        heads=tuple(replace(h, tied=False) if isinstance(h, LanguageModelHead) else h for h in architecture.heads)
    )


def _own_content(stored: Stored) -> dict[str, Any]:
    return {
        "format": _OWN_FORMAT,
        "family": stored.family.name,
        "architecture": encode_architecture(stored.architecture),
        "versions": {"stemma": metadata.version("stemma-lm"), "torch": torch.__version__},
    }


def _read_own(folder: Path) -> tuple[Family, Architecture] | None:
    if not (folder / _OWN_FILE).is_file():
        return None
    content = read_json(folder / _OWN_FILE)
    if content.get("format") != _OWN_FORMAT:
        rule = f"must be {_OWN_FORMAT}"
        raise CheckpointError(_OWN_FILE, Fault("format", content.get("format"), rule, "use the version that wrote it"))
    try:
        return family(str(content.get("family"))), decode_architecture(content.get("architecture"))
    except SpecError as error:
        raise CheckpointError(_OWN_FILE, error.faults) from None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
