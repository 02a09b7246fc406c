"""Hugging Face folders to models and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from stemma.checkpoints.atomic import new_folder
from stemma.checkpoints.classes import NATIVE, class_of, likely, native, told_by_tensors, told_facts
from stemma.checkpoints.config import Facts, differences, read_config, write_config
from stemma.checkpoints.labels import CHOICE, PROBLEM
from stemma.checkpoints.own import OWN_FILE, Own, own_content, read_own
from stemma.checkpoints.pooling import read_pooling, write_pooling
from stemma.checkpoints.processing import check_processing, write_processing
from stemma.checkpoints.projections import read_projections, write_projections
from stemma.checkpoints.rules import Plan, identical, make_plan, prefixed
from stemma.checkpoints.safety import read_json
from stemma.checkpoints.stored import Stored, fill, plans, sizes_of
from stemma.checkpoints.weights import SHARD_BYTES, Weights, write_weights
from stemma.errors import CheckpointError, Fault
from stemma.families import catalogue
from stemma.spec.architecture import Architecture
from stemma.spec.ends import LanguageModelHead
from stemma.spec.lineage import Family
from stemma.spec.mapping import Checkpoint, Tie, Variant


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
    spellings = {} if families[0].checkpoint is None else families[0].checkpoint.spellings
    weights = Weights(folder, spellings, allow_pickle=allow_pickle)
    weights.drop([name for name in weights.infos if any(fnmatch(name, pattern) for pattern in ignore)])
    pooling = read_pooling(folder)
    try:
        own = read_own(folder)
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
    projections = () if pooling is None else read_projections(folder, pooling, allow_pickle=allow_pickle)
    return Stored(best.family, model, best.facts, pooling, projections=projections)


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
    checkpoint, variant = class_of(stored.family, own, stored.facts)
    config, untold = {}, stored.facts
    if checkpoint is not NATIVE:
        config = _write_config(stored.family, variant, own, told_facts(variant, stored.facts))
        untold = {name: value for name, value in stored.facts.items() if (name, value) == (PROBLEM, CHOICE)}
    parameters = {name: parameter.detach() for name, parameter in stored.model.named_parameters()}
    shapes = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
    plan = make_plan(shapes, checkpoint.weights_of(variant), sizes=sizes_of(own), prefix=variant.prefix)
    dtype = str(next(iter(parameters.values())).dtype).removeprefix("torch.")
    header = {"architectures": [variant.name], "model_type": checkpoint.model_type, "dtype": dtype}
    with new_folder(folder, overwrite=overwrite) as partial:
        write_weights(plan.write(parameters), partial, shard_bytes)
        _write_json(partial / "config.json", header | config)
        _write_json(partial / OWN_FILE, own_content(stored, untold))
        if stored.pooling is not None:
            write_pooling(stored.pooling, partial, own.d_hidden)
            write_projections(stored.projections, partial)
        if own.vision is not None:
            write_processing(own.vision, partial)
        if beside is not None:
            beside(partial)


def _families(config: Mapping[str, Any], folder: Path) -> list[Family]:
    model_type = config.get("model_type")
    if model_type == NATIVE.model_type:
        if own := read_own(folder):
            return [own.family]
        rule, remedy = f"is told by {OWN_FILE} alone, which is missing", "save the model again"
        raise CheckpointError(str(folder / "config.json"), Fault("model_type", model_type, rule, remedy))
    known = dict.fromkeys(one.checkpoint.model_type for one in catalogue() if one.checkpoint)
    if model_type not in known:
        rule, remedy = "is no family of the tree", f"use one of {', '.join(known)}"
        raise CheckpointError(str(folder / "config.json"), Fault("model_type", model_type, rule, remedy))
    return [one for one in catalogue() if one.checkpoint and one.checkpoint.model_type == model_type]


def _readings(
    families: Sequence[Family], config: Mapping[str, Any], weights: Weights, ignore: Collection[str]
) -> Iterator[_Reading]:
    """Ways to understand a folder of theirs: the class that it names first, then the family's others."""
    formats: dict[int, list[Family]] = {}
    for one in families:
        formats.setdefault(id(_format(one).config), []).append(one)
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
    checkpoint = _format(families[0])
    variants = likely(checkpoint.classes, config.get("architectures"))
    prefixes = [variant.prefix for variant in variants]
    for variant in variants:
        rules = checkpoint.config_of(variant)
        architecture, facts = read_config(config, rules, families[0], variant.heads, ignore=ignore)
        architecture = _untied(architecture, checkpoint, variant, weights)
        candidates = [(one, _format(one).weights_of(variant)) for one in families]
        facts |= {PROBLEM: CHOICE} if variant.choices else {}
        for one, plan in plans(candidates, architecture, [variant.prefix, *prefixes, ""], len(weights.infos)):
            yield _Reading(one, architecture, facts, plan, plan.faults(weights.infos))


def _own_readings(own: Own, config: Mapping[str, Any], weights: Weights, ignore: Collection[str]) -> Iterator[_Reading]:
    """The one way to understand a folder of ours, once config.json is known to say the same."""
    one, architecture = own.family, own.architecture
    told = config.get("model_type") != NATIVE.model_type
    checkpoint, variant = class_of(one, architecture, own.facts) if told else native(architecture)
    facts = own.facts if checkpoint is NATIVE else _agreed_facts(own, variant, config, ignore)
    rules = checkpoint.weights_of(variant)
    for _, plan in plans([(one, rules)], architecture, [variant.prefix], len(weights.infos)):
        yield _Reading(one, architecture, facts, plan, plan.faults(weights.infos))


def _agreed_facts(own: Own, variant: Variant, config: Mapping[str, Any], ignore: Collection[str]) -> Facts:
    """What config.json adds to our file; they must not contradict each other."""
    one, rules = own.family, _format(own.family).config_of(variant)
    told, facts = read_config(config, rules, one, variant.heads, ignore=ignore)
    retold, _ = read_config(_write_config(one, variant, own.architecture, facts), rules, one, variant.heads)
    if different := differences(retold, told):
        remedy = f"correct one of the two, or delete {OWN_FILE}"
        raise CheckpointError(
            OWN_FILE,
            [
                Fault(path, mine, f"contradicts config.json, where it is {theirs!r}", remedy)
                for path, mine, theirs in different
            ],
        )
    return {**facts, **own.facts}


def _write_config(one: Family, variant: Variant, architecture: Architecture, facts: Facts) -> dict[str, Any]:
    checkpoint = _format(one)
    kept = told_by_tensors(checkpoint, variant)
    return write_config(architecture, checkpoint.config_of(variant), one, variant.heads, facts, kept=kept)


def _format(one: Family) -> Checkpoint:
    assert one.checkpoint is not None, "a family that is found by its folders has a format"
    return one.checkpoint


def _untied(architecture: Architecture, checkpoint: Checkpoint, variant: Variant, weights: Weights) -> Architecture:
    """With an output of its own, where the tensor that would hold it differs from the embedding."""
    output = checkpoint.untied_by
    ties = [rule.to for rule in checkpoint.weights if isinstance(rule, Tie) and rule.theirs == output]
    original = prefixed(ties[0], variant.prefix) if ties else ""
    if output not in weights.infos or original not in weights.infos:
        return architecture
    if identical(weights.read(output), weights.read(original)):
        return architecture
    return architecture.change(
        heads=tuple(replace(h, tied=False) if isinstance(h, LanguageModelHead) else h for h in architecture.heads)
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
