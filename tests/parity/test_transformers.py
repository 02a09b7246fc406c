"""Ours against `transformers`, both ways through a folder, in every variant that a family's table allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch

from stemma.checkpoints import Stored, read_folder, write_folder
from stemma.spec import EncoderDecoder
from stemma.spec.mapping import Ignore, Tie

from ..tiny import apart, random_model, random_tokens, scramble, slowly
from ..tolerances import FP32
from .choices import Batch, Case, cases, ours, theirs

ROWS, LENGTH, TARGET = 3, 11, 9

# The usual architecture of each of their classes is compared in every run; each single choice in the long ones.
each_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=str(case), marks=[pytest.mark.slow] if case.choice else slowly(case.family))
        for case in cases()
    ],
)


def _batch(case: Case, padded: bool) -> Batch:
    # Some of theirs take the first ids for padding wherever they stand.
    batch = Batch(random_tokens(ROWS, LENGTH).clamp(min=4))
    pair = isinstance(case.architecture.stacks, EncoderDecoder)
    segments = case.architecture.embedding.segments or 2 * getattr(case.architecture.position, "segments", False)
    if segments:
        batch = replace(batch, segments=random_tokens(ROWS, LENGTH, seed=1, vocab=segments))
    for kind in ("languages", "tasks"):
        if rows := getattr(case.architecture.embedding, kind):
            batch = replace(batch, **{kind: random_tokens(ROWS, LENGTH, seed=3, vocab=rows)})
    if pair:
        batch = replace(batch, decoder_tokens=random_tokens(ROWS, TARGET, seed=2).clamp(min=4))
    if padded:
        batch = replace(batch, mask=torch.arange(LENGTH) < torch.tensor([[LENGTH], [7], [4]]))
        if pair:
            batch = replace(batch, decoder_mask=torch.arange(TARGET) < torch.tensor([[6], [TARGET], [3]]))
    return batch


def _differences(case: Case, model: torch.nn.Module, other: torch.nn.Module, padded: bool) -> dict[str, float]:
    """The largest difference of each result, where a position is real."""
    batch = _batch(case, padded)
    mine = ours(model, batch)
    found = theirs(other, batch, {head.name for head in case.architecture.heads})
    assert (len(found["attention"]), len(found["block"])) == (len(mine["attention"]), len(mine["block"]))
    if "pooled" not in found:
        mine.pop("pooled", None)  # read by the next sentence's scores alone
    assert found.keys() == mine.keys()
    masks = {LENGTH: batch.mask, TARGET: batch.decoder_mask}

    def real(value: torch.Tensor) -> torch.Tensor:
        axis = 2 if value.ndim == 4 else 1
        mask = masks.get(value.shape[axis]) if value.ndim >= 2 else None
        return value if mask is None else value.movedim(axis, 1)[mask]

    return {
        name: max(apart(real(left), real(right)) for left, right in zip(values, found[name], strict=True))
        for name, values in mine.items()
    }


def _weights_equal(left: torch.nn.Module, right: torch.nn.Module) -> bool:
    first, second = left.state_dict(), right.state_dict()
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@torch.no_grad()
def _scramble_theirs(other: torch.nn.Module, case: Case) -> None:
    """Random values for all that is learned; what they compute stays, and what they store twice is equal."""
    assert case.family.checkpoint is not None
    weights = other.state_dict()
    computed = [rule.theirs.lstrip("@") for rule in case.family.checkpoint.weights if isinstance(rule, Ignore)]
    kept = {name: value.clone() for name, value in weights.items() if any(fnmatch(name, rule) for rule in computed)}
    scramble(other, seed=7)
    for name, value in kept.items():
        weights[name].copy_(value)
    for tie in case.family.checkpoint.weights:
        # A matrix of theirs is tied by themselves; of an offset's two copies they read one.
        if isinstance(tie, Tie) and tie.theirs in weights and weights[tie.theirs].ndim == 1:
            weights[tie.theirs].copy_(weights[tie.to])


@each_case
def test_what_we_write_they_read(case: Case, tmp_path: Path, figure: Callable[..., None]) -> None:
    model = random_model(case.architecture)
    write_folder(Stored(case.family, model), tmp_path / "ours")
    other = case.load(tmp_path / "ours")
    for padded in (False, True):
        differences = _differences(case, model, other, padded)
        figure(str(case), padded=int(padded), **differences)
        assert max(differences.values()) <= FP32, differences
    again = read_folder(tmp_path / "ours")
    assert again.architecture == case.architecture
    assert again.family is case.family
    assert _weights_equal(again.model, model)


@each_case
def test_what_they_write_we_read(case: Case, tmp_path: Path, figure: Callable[..., None]) -> None:
    write_folder(Stored(case.family, random_model(case.architecture)), tmp_path / "ours")
    other = case.load(tmp_path / "ours")
    _scramble_theirs(other, case)
    other.save_pretrained(tmp_path / "theirs")
    stored = read_folder(tmp_path / "theirs")
    assert not stored.model.training or stored.model.eval()
    differences = _differences(case, stored.model.eval(), other, padded=True)
    figure(str(case), **differences)
    assert max(differences.values()) <= FP32, differences
    write_folder(stored, tmp_path / "back")
    assert _weights_equal(case.load(tmp_path / "back"), other)
