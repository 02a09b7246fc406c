"""Everything that a family's table says a checkpoint may hold, at tiny sizes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import torch
import transformers

from stemma.nn import Model, Output
from stemma.spec import Architecture, Family
from stemma.spec.mapping import Checkpoint, Key, Rename, Variant, Zero

from ..tiny import RESULTS, formats, tiny, untold

_TRAINING_ONLY = ("dropout", "initialisation")


@dataclass(frozen=True)
class Case:
    """One architecture that a family's checkpoints can hold.

    Args:
        family: the family.
        variant: their class.
        choice: the field that is not the usual one, and its value; empty for the usual ones.
        architecture: all of it.
    """

    family: Family
    variant: Variant
    choice: str
    architecture: Architecture

    def __str__(self) -> str:
        heads = "+".join(head.name for head in self.variant.heads) or "bare"
        return "-".join(filter(None, (self.family.name, self.variant.name, heads, self.choice)))

    def load(self, folder: Any) -> torch.nn.Module:
        """What `transformers` makes of a folder, through its own choice of class."""
        config = transformers.AutoConfig.from_pretrained(folder)
        theirs = getattr(transformers, config.architectures[0])
        with_pooler = "add_pooling_layer" in inspect.signature(theirs.__init__).parameters
        options = {"add_pooling_layer": bool(self.variant.heads)} if with_pooler else {}
        return theirs.from_pretrained(folder, attn_implementation="eager", **options).eval()


def cases() -> Iterator[Case]:
    """For each family and each of their classes: the usual architecture, then one other value of each field."""
    for family in formats():
        assert family.checkpoint is not None, "a format is one of checkpoints"
        for variant in family.checkpoint.variants:
            usual = usual_architecture(family, family.checkpoint, variant)
            yield Case(family, variant, "", usual)
            for paths, values in _choices(family.checkpoint, variant, usual):
                for value in values:
                    yield Case(family, variant, f"{paths[0]}={_named(value)}", place(usual, paths, value))


def place(architecture: Architecture, paths: tuple[str, ...], value: Any) -> Architecture:
    """The architecture with a value at each of the paths that it has."""
    for path in paths:
        first, *rest = path.split(".")
        if first == "heads":
            name, field = rest
            heads = tuple(replace(h, **{field: value}) if h.name == name else h for h in architecture.heads)
            architecture = replace(architecture, heads=heads)
        else:
            part = replace(getattr(architecture, first), **{rest[0]: value}) if rest else value
            architecture = replace(architecture, **{first: part})
    return architecture


def usual_architecture(family: Family, checkpoint: Checkpoint, variant: Variant) -> Architecture:
    """The family's own, with head sizes as free as the table allows."""
    free = untold(checkpoint)
    if "n_kv_heads" not in free and _key(checkpoint, "n_kv_heads").values:
        free["n_kv_heads"] = family.build().n_kv_heads
    family_heads = {head.name: head for head in family.traits["heads"]}
    return tiny(family, heads=tuple(family_heads.get(head.name, head) for head in variant.heads), **free)


def _key(checkpoint: Checkpoint, path: str) -> Key:
    return next(rule for rule in checkpoint.config if isinstance(rule, Key) and path in rule.paths)


Choice = tuple[tuple[str, ...], list[Any]]


def _choices(checkpoint: Checkpoint, variant: Variant, usual: Architecture) -> Iterator[Choice]:
    for rule in checkpoint.config:
        if not isinstance(rule, Key):
            continue
        paths = tuple(path for path in rule.paths if value_at(usual, path) is not None)
        if not paths or paths[0].split(".")[0] in _TRAINING_ONLY:
            continue
        now = value_at(usual, paths[0])
        yield paths, [value for value in _others(rule, now) if value != now]
    # Told by the tensors themselves.
    if checkpoint.untied_by and usual.heads:
        yield ("heads.lm.tied",), [not value_at(usual, "heads.lm.tied")]
    zeros = {rule.theirs for rule in checkpoint.weights_of(variant) if isinstance(rule, Zero)}
    for rule in checkpoint.weights_of(variant):
        if isinstance(rule, Rename) and rule.theirs in zeros:
            yield (rule.ours,), [not value_at(usual, rule.ours)]


def _others(rule: Key, now: Any) -> list[Any]:
    """Other values that the key can hold."""
    if rule.values is not None:
        alike = [value for value in rule.values.values() if type(value) is type(now)]
        return list({repr(value): value for value in alike}.values())
    if isinstance(now, bool):
        return [not now]
    if isinstance(now, float):
        # A share of a whole stays one.
        return [1.0 if rule.paths[0].endswith("fraction") else now * 30]
    # Sizes are odd ones already; what may be derived is derived once more from the rest.
    return [4] if rule.paths[0] == "n_kv_heads" else []


def value_at(architecture: Architecture, path: str) -> Any:
    """The value at a path, or None where the part has no such field."""
    first, *rest = path.split(".")
    value: Any = getattr(architecture, first)
    if first == "heads":
        value = next((head for head in value if head.name == rest[0]), None)
        rest = rest[1:]
    for name in rest:
        value = getattr(value, name, None)
    return value


def _named(value: Any) -> str:
    return str(getattr(value, "activation", type(value).__name__) if is_dataclass(value) else value)


# --- The same pass, by each of the two -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """What both read; masks are None where nothing is padded."""

    tokens: torch.Tensor
    mask: torch.Tensor | None = None
    decoder_tokens: torch.Tensor | None = None
    decoder_mask: torch.Tensor | None = None
    segments: torch.Tensor | None = None
    languages: torch.Tensor | None = None
    tasks: torch.Tensor | None = None

    @property
    def labels(self) -> torch.Tensor:
        """Ids to predict at each position of the logits; -100 where there are none."""
        tokens = self.tokens if self.decoder_tokens is None else self.decoder_tokens
        mask = self.mask if self.decoder_tokens is None else self.decoder_mask
        labels = (tokens * 5 + 3) % int(self.tokens.max() + 1)
        return labels if mask is None else labels.masked_fill(~mask, -100)


@torch.no_grad()
def ours(model: Model, batch: Batch) -> dict[str, list[torch.Tensor]]:
    """Every named result of our pass; of our blocks by hooks, so that the last one's is kept too."""
    blocks: list[torch.Tensor] = []
    stacks = [stack for stack in (model.encoder, model.decoder) if stack is not None]
    hooks = [
        block.register_forward_hook(lambda module, inputs, output: blocks.append(output))
        for stack in stacks
        for block in stack.blocks
    ]
    options = {name: value for name, value in vars(batch).items() if name != "tokens" and value is not None}
    output: Output = model(batch.tokens, hiddens=True, attentions=True, **options)
    for hook in hooks:
        hook.remove()
    assert output.hiddens is not None
    assert output.attentions is not None
    found = {"block": blocks, "hidden state": list(output.hiddens), "attention": list(output.attentions)}
    for name in RESULTS:
        if (value := getattr(output, name)) is not None:
            found[name] = [value]
    losses = []
    if output.logits is not None:
        shift = model.architecture.kind == "decoder-only"
        logits = output.logits[:, :-1] if shift else output.logits
        labels = batch.labels[:, 1:] if shift else batch.labels
        losses.append(torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100))
    if output.replaced is not None:
        real = torch.ones_like(batch.tokens, dtype=torch.bool) if batch.mask is None else batch.mask
        score, label = output.replaced[real], (batch.tokens[real] % 2).float()
        losses.append(torch.nn.functional.binary_cross_entropy_with_logits(score, label))
    if output.next_sentence is not None:
        # Their label 0 means "is the next one".
        losses.append(torch.nn.functional.cross_entropy(output.next_sentence, batch.tokens[:, 0] % 2))
    return found | ({"loss": [sum(losses, torch.zeros(()))]} if losses else {})


@torch.no_grad()
def theirs(model: torch.nn.Module, batch: Batch, heads: set[str]) -> dict[str, list[torch.Tensor]]:
    """The same of theirs."""
    blocks: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(
            lambda module, inputs, output: blocks.append(_rows_first(_first(output), len(batch.tokens)))
        )
        for child in model.modules()
        if isinstance(child, torch.nn.ModuleList) and type(child[0]).__name__.endswith(_BLOCKS)
        for block in child
    ]
    names = {
        "input_ids": batch.tokens,
        "attention_mask": None if batch.mask is None else batch.mask.long(),
        "token_type_ids": batch.segments,
        "langs": batch.languages,
        "task_type_ids": batch.tasks,
        "decoder_input_ids": batch.decoder_tokens,
        "decoder_attention_mask": batch.decoder_mask,
    }
    options = {name: value for name, value in names.items() if value is not None}
    if heads == {"nsp", "pooler"}:
        options["labels"] = batch.tokens[:, 0] % 2
    elif heads == {"replaced"}:
        options["labels"] = batch.tokens % 2
    elif heads & {"lm", "mlm"}:
        options["labels"] = batch.labels
        if "nsp" in heads:
            sentences = "sop" if "sentence_order_label" in inspect.signature(model.forward).parameters else "nsp"
            options[_SENTENCES[sentences]] = batch.tokens[:, 0] % 2
    output = model(**options, output_hidden_states=True, output_attentions=True)
    for hook in hooks:
        hook.remove()
    pair = "encoder_hidden_states" in output
    states = output.encoder_hidden_states + output.decoder_hidden_states if pair else output.hidden_states
    maps = list(output.encoder_attentions if pair else output.attentions)
    if pair:
        for own, cross in zip(output.decoder_attentions, output.cross_attentions, strict=True):
            maps += [own, cross]
    # Where no module of theirs is a block, what leaves it is among the states all the same.
    blocks = blocks or list(states[1:])
    found = {"block": blocks, "hidden state": list(states), "attention": maps, "hidden": [states[-1]]}
    scores = {"nsp": "next_sentence"} if heads == {"nsp", "pooler"} else _SCORES
    if "logits" in output:
        found[next(scores[head] for head in scores if head in heads)] = [output.logits]
    for name, key in {
        "prediction_logits": "logits",
        "seq_relationship_logits": "next_sentence",
        "sop_logits": "next_sentence",
        "pooler_output": "pooled",
        "loss": "loss",
    }.items():
        if output.get(name) is not None:
            found[key] = [output[name]]
    return found


_SENTENCES = {"sop": "sentence_order_label", "nsp": "next_sentence_label"}
_SCORES = {"lm": "logits", "mlm": "logits", "replaced": "replaced"}
_BLOCKS = ("Layer", "Block")


def _first(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]


def _rows_first(state: torch.Tensor, rows: int) -> torch.Tensor:
    """A state whose first axis is the batch; one of theirs keeps positions first inside."""
    return state if len(state) == rows else state.transpose(0, 1)
