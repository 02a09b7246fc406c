"""Ours against `transformers` in every class that it has for a task, both ways through a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stemma.checkpoints import Stored, read_folder, write_folder
from stemma.checkpoints.labels import CHOICE, label_names, labelled
from stemma.nn import Model
from stemma.spec import ClassifierHead, EncoderDecoder, Permutation

from ..tiny import apart, formats, random_model, random_tokens, scramble, slowly
from ..tolerances import FP32
from .choices import Case, usual_architecture

ROWS, LENGTH, NAMES = 3, 9, ("bad", "fair", "good")
PAD, END = 1, 3


def _cases() -> Iterator[Case]:
    for family in formats():
        assert family.checkpoint is not None, "a format is one of checkpoints"
        for variant in family.checkpoint.tasks:
            heads = variant.heads
            if variant.counts:
                heads = (*heads[:-1], replace(heads[-1], n_classes=len(NAMES)))
            architecture = usual_architecture(family, family.checkpoint, replace(variant, heads=heads))
            yield Case(family, variant, "", architecture)


CASES = tuple(_cases())
each_class = pytest.mark.parametrize(
    "case", [pytest.param(one, id=str(one), marks=slowly(one.family)) for one in CASES]
)


def _stored(case: Case) -> Stored:
    """A random network, whose labels have names where its class counts them."""
    facts = {"pad_token_id": PAD, "eos_token_id": END, "decoder_start_token_id": 2}
    told = labelled(facts, NAMES if case.variant.counts else (), CHOICE if case.variant.choices else "")
    return Stored(case.family, random_model(case.architecture), told)


def _rows(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts of several lengths that end as theirs do, and where they are real: XLNet's padding comes first."""
    lengths = torch.tensor([[LENGTH], [7], [4]])
    places = torch.arange(LENGTH).expand(ROWS, LENGTH)
    mask, last = places < lengths, places == lengths - 1
    if isinstance(case.architecture.stacks, Permutation):
        mask, last = mask.flip(1), places == LENGTH - 1
    tokens = random_tokens(ROWS, LENGTH).clamp(min=5)
    return tokens.masked_fill(last, END).masked_fill(~mask, PAD), mask


@torch.no_grad()
def _ours(case: Case, model: Model, tokens: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    pair = isinstance(case.architecture.stacks, EncoderDecoder)
    shifted = torch.cat((torch.full((ROWS, 1), 2), tokens[:, :-1]), 1)
    output = model(tokens, mask=mask, **({"decoder_tokens": shifted, "decoder_mask": mask} if pair else {}))
    found = {name: getattr(output, name) for name in ("classes", "tags", "answers")}
    return {name: value for name, value in found.items() if value is not None}


@torch.no_grad()
def _theirs(case: Case, model: torch.nn.Module, tokens: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    options = {"input_ids": tokens, "attention_mask": mask.long()}
    if isinstance(case.architecture.stacks, EncoderDecoder):
        shifted = torch.cat((torch.full((ROWS, 1), 2), tokens[:, :-1]), 1)
        options |= {"decoder_input_ids": shifted, "decoder_attention_mask": mask.long()}
    if case.variant.choices:
        options = {name: value[None] for name, value in options.items()}
    output = model(**options)
    if "start_logits" in output:
        return {"answers": torch.stack((output.start_logits, output.end_logits), -1)}
    name = "classes" if case.architecture.head(ClassifierHead) else "tags"
    return {name: output.logits.T if case.variant.choices else output.logits}


def _apart(case: Case, ours: Model, theirs: torch.nn.Module) -> float:
    tokens, mask = _rows(case)
    mine, found = _ours(case, ours, tokens, mask), _theirs(case, theirs, tokens, mask)
    assert mine.keys() == found.keys()
    return max(
        apart(*(value if name == "classes" else value[mask] for value in (mine[name], found[name]))) for name in mine
    )


@each_class
def test_what_we_write_they_read(case: Case, tmp_path: Path, figure: Callable[..., None]) -> None:
    stored = _stored(case)
    write_folder(stored, tmp_path / "ours")
    other = case.load(tmp_path / "ours")
    assert type(other).__name__ == case.variant.name
    figure(str(case), apart=(found := _apart(case, stored.model, other)))
    assert found <= FP32
    if names := label_names(stored.facts):
        assert tuple(other.config.id2label.values()) == names
    again = read_folder(tmp_path / "ours")
    assert again.architecture == case.architecture
    assert {name: again.facts.get(name) for name in stored.facts if name in again.facts} == stored.facts


@each_class
def test_what_they_write_we_read(case: Case, tmp_path: Path, figure: Callable[..., None]) -> None:
    stored = _stored(case)
    write_folder(stored, tmp_path / "ours")
    other = case.load(tmp_path / "ours")
    scramble(other, seed=7)
    other.save_pretrained(tmp_path / "theirs")
    read = read_folder(tmp_path / "theirs")
    assert (label_names(read.facts), read.facts.get("problem_type")) == (
        label_names(stored.facts),
        stored.facts.get("problem_type"),
    )
    figure(str(case), apart=(found := _apart(case, read.model.eval(), other)))
    assert found <= FP32
    write_folder(read, tmp_path / "back")
    assert json.loads((tmp_path / "back" / "config.json").read_text())["architectures"] == [case.variant.name]
    first, second = case.load(tmp_path / "back").state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
