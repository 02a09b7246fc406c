"""Permutations and histories against `transformers`, which take masks and mappings where we take ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stemma.checkpoints import Stored, write_folder
from stemma.nn import Model
from stemma.spec.parts import Permutation

from ..tiny import apart, random_model, random_tokens
from ..tolerances import FP32
from .choices import Case, cases

ROWS, LENGTH, BEFORE = 3, 9, 7

each_permutation = pytest.mark.parametrize(
    "case",
    [
        case
        for case in cases()
        if isinstance(case.architecture.stacks, Permutation) and case.variant.heads and not case.choice
    ],
    ids=str,
)


def _both(case: Case, folder: Path) -> tuple[Model, Any]:
    model = random_model(case.architecture)
    write_folder(Stored(case.family, model), folder / "ours")
    return model, case.load(folder / "ours")


def _ranks(n_context: int) -> torch.Tensor:
    """Every row its own order, with some tokens that are not predicted."""
    generator = torch.Generator().manual_seed(3)
    order = torch.stack([torch.randperm(LENGTH, generator=generator) for _ in range(ROWS)])
    return torch.where(order < n_context, -1, order)


def _permutation_mask(ranks: torch.Tensor) -> torch.Tensor:
    """1 where a token is hidden, as the authors' input pipeline writes it."""
    own = torch.where(ranks < 0, ranks + 1, ranks)
    return ((own[:, :, None] <= ranks[:, None, :]) & (ranks[:, None, :] >= 0)).float()


MASKS = {
    "none": None,
    "left": torch.arange(LENGTH) >= torch.tensor([[0], [2], [4]]),
    "right": torch.arange(LENGTH) < torch.tensor([[LENGTH], [7], [5]]),
}


@each_permutation
@pytest.mark.parametrize("padding", MASKS)
@torch.no_grad()
def test_a_permutation(case: Case, padding: str, tmp_path: Path) -> None:
    model, other = _both(case, tmp_path)
    tokens, segments = random_tokens(ROWS, LENGTH), random_tokens(ROWS, LENGTH, seed=1, vocab=2)
    ranks, mask = _ranks(3), MASKS[padding]
    if mask is not None:
        ranks[torch.arange(ROWS), mask.int().argmax(-1)] = -1  # what sees nothing of them sees all
    mine = model(tokens, ranks=ranks, segments=segments, mask=mask, hiddens=True, attentions=True)
    theirs = other(
        tokens,
        perm_mask=_permutation_mask(ranks),
        target_mapping=torch.eye(LENGTH).expand(ROWS, -1, -1),
        token_type_ids=segments,
        attention_mask=None if mask is None else mask.long(),
        labels=tokens,
        output_hidden_states=True,
        output_attentions=True,
    )
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    states = (*theirs.hidden_states[0::2], *theirs.hidden_states[1::2])
    maps = [weights[stream] for stream in (0, 1) for weights in theirs.attentions]
    for left, right in zip(mine.hiddens, states, strict=True):
        assert apart(left[real], right[real]) <= FP32
    for left, right in zip(mine.attentions, maps, strict=True):
        assert apart(left.transpose(1, 2)[real], right.transpose(1, 2)[real]) <= FP32
    assert apart(mine.logits[real], theirs.logits[real]) <= FP32
    if mask is None:
        loss = torch.nn.functional.cross_entropy(mine.logits.flatten(0, 1), tokens.flatten())
        assert apart(loss, theirs.loss) <= FP32


@each_permutation
@torch.no_grad()
def test_the_last_position_alone(case: Case, tmp_path: Path) -> None:
    """As `generate` of theirs asks for one token more."""
    model, other = _both(case, tmp_path)
    tokens = random_tokens(ROWS, LENGTH)
    ranks = torch.full_like(tokens, -1)
    ranks[:, -1] = 0
    mapping = torch.zeros(ROWS, 1, LENGTH)
    mapping[:, 0, -1] = 1.0
    theirs = other(tokens, perm_mask=_permutation_mask(ranks), target_mapping=mapping)
    assert apart(model(tokens, ranks=ranks, last_only=True).logits, theirs.logits) <= FP32


@each_permutation
@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize("keep", [4, BEFORE, BEFORE + LENGTH])
@torch.no_grad()
def test_a_history_of_two_segments(case: Case, permuted: bool, keep: int, tmp_path: Path) -> None:
    model, other = _both(case, tmp_path)
    other.transformer.mem_len = keep
    history, mems = None, None
    for length, seed in ((BEFORE, 5), (LENGTH, 6)):
        tokens, segments = random_tokens(ROWS, length, seed), random_tokens(ROWS, length, seed + 2, vocab=2)
        options: dict[str, Any] = {}
        masks: dict[str, Any] = {}
        if permuted:
            ranks = _ranks(1)[:, :length]
            ranks[:, 0] = -1  # what sees nothing of them sees all
            options = {"ranks": ranks}
            masks = {
                "perm_mask": _permutation_mask(ranks),
                "target_mapping": torch.eye(length).expand(ROWS, -1, -1),
            }
        mine = model(tokens, segments=segments, history=history, keep=keep, **options)
        theirs = other(tokens, token_type_ids=segments, mems=mems, use_mems=True, **masks)
        assert apart(mine.logits, theirs.logits) <= FP32
        history, mems = mine.history, theirs.mems
        for left, right in zip(history.states, mems, strict=True):
            assert apart(left, right.transpose(0, 1)) <= FP32
