"""A network in the words of a GGUF format: the rules by which `gguf` reads, the other way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stemma.checkpoints.config import write_config
from stemma.checkpoints.nests import flatten, nests
from stemma.checkpoints.rules import Plan, make_plan
from stemma.checkpoints.stored import Stored, shapes_of, sizes_of
from stemma.errors import CheckpointError, Fault
from stemma.families import catalogue, closest
from stemma.spec.architecture import Architecture
from stemma.spec.ends import LanguageModelHead
from stemma.spec.lineage import Family
from stemma.spec.mapping import ConfigRule, Constant, Gguf, Key

_POOLINGS = {"mean": 1, "cls": 2, "last": 3}
_VOCABULARY = Key("vocab_size", "vocab_size")
_REMEDY = "write it with --to hf, which holds every network"


@dataclass(frozen=True)
class Form:
    """A network as one of the formats tells it.

    Args:
        entries: of the header.
        plan: of the tensors.
        left_out: heads that are not written.
    """

    entries: Mapping[str, Any]
    plan: Plan
    left_out: tuple[str, ...] = ()


def form_of(stored: Stored) -> Form:
    """The form of a model in the one format that can tell its architecture, whatever its family is called.

    A model made to embed is told without the heads that embedding does not ask.

    Raises:
        CheckpointError: naming everything that the nearest format cannot tell.
    """
    own = stored.architecture
    formats = {id(rules): (one, rules) for one in reversed(catalogue()) if (rules := _rules(one)) is not None}
    families = {one.name: rules for one, rules in reversed(formats.values())}
    names = ", ".join(families)
    if stored.family.shape is not Architecture:
        rule = f"is no network that GGUF tells, which are {names}"
        raise CheckpointError("gguf", Fault("family", stored.family.name, rule, _REMEDY))
    failures: dict[str, CheckpointError] = {}
    for one, rules in formats.values():
        try:
            return _told(stored, one, rules)
        except CheckpointError as error:
            failures[one.name] = error
    mine = [one for one, rules in formats.values() if rules is _rules(stored.family)]
    nearest = mine[0] if mine else closest(own, tuple(one for one, _ in formats.values()))
    faults = [replace(fault, remedy=_REMEDY) for fault in failures[nearest.name].faults]
    if not mine:
        rule = f"is none that GGUF tells, which are {names}; {nearest.name} is the nearest, but"
        faults.insert(0, Fault("family", stored.family.name, rule, _REMEDY))
    raise CheckpointError(f"gguf: {nearest.name}", faults)


def _rules(family: Family) -> Gguf | None:
    return family.checkpoint.gguf if family.checkpoint else None


def _told(stored: Stored, family: Family, rules: Gguf) -> Form:
    asked = {head.name for head in rules.heads}
    left_out = tuple(head.name for head in stored.architecture.heads if stored.pooling and head.name not in asked)
    own = stored.architecture.change(heads=tuple(h for h in stored.architecture.heads if h.name not in left_out))
    output = own.head(LanguageModelHead)
    heads = tuple(
        replace(head, tied=output.tied) if output and isinstance(head, LanguageModelHead) else head
        for head in rules.heads
    )
    config = tuple(map(_outspoken, (rule for rule in rules.config if rule.theirs != _VOCABULARY.theirs)))
    facts = {
        "context_length": stored.facts.get("max_position_embeddings") or family.context,
        "attention.value_length": own.d_head,
        **_pooling(stored, rules),
    }
    flat = flatten(write_config(own, (*config, _VOCABULARY), family, heads, facts), nests(config))
    entries: dict[str, Any] = {"general.architecture": rules.architecture}
    entries |= {f"{rules.architecture}.{name}": value for name, value in flat.items()}
    if own.embedding.segments:
        entries["tokenizer.ggml.token_type_count"] = own.embedding.segments
    return Form(entries, make_plan(shapes_of(own), rules.weights, sizes=sizes_of(own)), left_out)


def _outspoken(rule: ConfigRule) -> ConfigRule:
    """A rule by which nothing is left to the default of another reader."""
    return replace(rule, written=True) if isinstance(rule, Constant) else rule


def _pooling(stored: Stored, rules: Gguf) -> dict[str, int]:
    """How llama.cpp is to embed; scaling and cutting are its caller's choice."""
    pooling = stored.pooling
    if pooling is None:
        return {}
    faults = []
    if pooling.kind not in _POOLINGS or not any(rule.theirs == "pooling_type" for rule in rules.config):
        rule = f"is not told; {', '.join(_POOLINGS)} of an encoder are"
        faults.append(Fault("pooling.kind", pooling.kind, rule, _REMEDY))
    if pooling.projections:
        faults.append(Fault("pooling.projections", len(pooling.projections), "have no place", _REMEDY))
    if pooling.default_prompt is not None:
        faults.append(Fault("pooling.default_prompt", pooling.default_prompt, "has no place", _REMEDY))
    if faults:
        raise CheckpointError("pooling", faults)
    return {"pooling_type": _POOLINGS[pooling.kind]}
