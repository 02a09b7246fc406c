"""Losses of our batches, by our networks and by those of `transformers` with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stemma.checkpoints import Stored, write_folder
from stemma.objectives import (
    Asked,
    Batch,
    Denoising,
    Objective,
    Pass,
    PermutationLM,
    ReplacedTokens,
    Setting,
    SpanCorruption,
    Vocabulary,
    collate,
)
from stemma.objectives.replaced import sampled
from stemma.spec import EncoderDecoder, MaskedLMHead, Permutation, ReplacedTokenHead

from ..parity.choices import Case, cases
from ..tiny import apart, random_model, scramble, slowly
from ..tolerances import FP32
from .vocabularies import BOUNDED, CLASSED, ENDED, row, texts, vocabulary

EMPTY = torch.nn.ModuleDict()


def usual(wanted: Callable[[Case], bool]) -> list[Any]:
    """The usual architecture of each of their classes."""
    found = [case for case in cases() if not case.choice and wanted(case)]
    return [pytest.param(case, id=str(case), marks=slowly(case.family)) for case in found]


def batch_of(objective: Objective, known: Vocabulary, case: Case, lengths: tuple[int, ...] = (14, 6, 11)) -> Batch:
    """A few texts of different lengths, as one objective makes them."""
    learns, setting = Pass((objective,)), Setting(known, 17, case.architecture)
    assert learns.faults(setting) == []
    drawn = texts(known, 14 * len(lengths), 14)
    rows = [row(text[:n], known.frame, (key,)) for key, (text, n) in enumerate(zip(drawn, lengths, strict=True))]
    return collate([learns.prepare(one, setting) for one in rows], pad=known.roles.pad or 0)


def labels(asked: Asked, like: torch.Tensor) -> torch.Tensor:
    """What is asked for as they want it: -100 wherever nothing is."""
    return torch.full_like(like, -100).index_put((asked.rows, asked.places), asked.ids)


def saved(case: Case, model: Any, folder: Path) -> Any:
    write_folder(Stored(case.family, model), folder)
    return case.load(folder)


@pytest.mark.parametrize("objective", [SpanCorruption(rate=0.4), Denoising(noises=("mask", "permute", "infill"))])
@pytest.mark.parametrize("case", usual(lambda case: isinstance(case.architecture.stacks, EncoderDecoder)))
@torch.no_grad()
def test_two_stacks(case: Case, objective: Objective, tmp_path: Path) -> None:
    """They are given the answer alone, and shift it by themselves."""
    model = random_model(case.architecture)
    theirs = saved(case, model, tmp_path / "saved")
    known = next(
        k for k in map(vocabulary, (37, 37), (ENDED, BOUNDED)) if k.start == theirs.config.decoder_start_token_id
    )
    batch = batch_of(objective, known, case)
    asked = batch.asked["text"]
    ours = objective.losses(model, EMPTY, batch)["text"] / len(asked)
    answer = labels(asked, batch.inputs["decoder_tokens"])
    found = theirs(batch.inputs["tokens"], attention_mask=batch.inputs["mask"].long(), labels=answer)
    assert apart(ours, found.loss) <= FP32


@pytest.mark.parametrize(
    "case", usual(lambda case: isinstance(case.architecture.stacks, Permutation) and case.variant.heads != ())
)
@torch.no_grad()
def test_permutations(case: Case, tmp_path: Path) -> None:
    model, known = random_model(case.architecture), vocabulary(37, CLASSED, sentinels=0)
    batch = batch_of(PermutationLM(), known, case)
    ranks, asked = batch.inputs["ranks"], batch.asked["permuted"]
    ours = PermutationLM().losses(model, EMPTY, batch)["permuted"] / len(asked)
    theirs = saved(case, model, tmp_path / "saved")
    found = theirs(
        batch.inputs["tokens"],
        attention_mask=batch.inputs["mask"].long(),
        perm_mask=((ranks[:, :, None] <= ranks[:, None]) & (ranks[:, None] >= 0)).float(),
        target_mapping=torch.eye(ranks.shape[1]).expand(len(ranks), -1, -1),
        labels=labels(asked, batch.inputs["tokens"]),
    )
    assert apart(ours, found.loss) <= FP32


@pytest.mark.parametrize("case", usual(lambda case: any(isinstance(h, ReplacedTokenHead) for h in case.variant.heads)))
@torch.no_grad()
def test_generator_and_discriminator(case: Case, tmp_path: Path) -> None:
    """Both losses, each by its own class of theirs, on what our generator drew."""
    known, objective = vocabulary(37, CLASSED, sentinels=0), ReplacedTokens(rate=0.4, generator=0.5)
    model = random_model(case.architecture)
    setting = Setting(known, 17, case.architecture)
    companions = objective.companions(setting, seed=1).eval()
    scramble(companions, seed=1)
    objective.share(model, companions)
    batch = batch_of(objective, known, case)
    ours = objective.losses(model, companions, batch)

    generator: Any = companions["generator"]
    masked, tokens, mask = batch.asked["masked"], batch.inputs["tokens"], batch.inputs["mask"]
    one = next(one for one in cases() if one.family is case.family and one.variant.heads == (MaskedLMHead(),))
    guesses = saved(one, generator, tmp_path / "generator")(
        tokens, attention_mask=mask.long(), labels=labels(masked, tokens)
    )
    assert apart(ours["masked"] / len(masked), guesses.loss) <= FP32

    hidden = generator(**batch.inputs, scores=False).hidden[masked.rows, masked.places]
    assert masked.draws is not None
    drawn = sampled(generator.product("mlm", hidden), masked.draws)
    where = masked.rows, masked.places
    replaced = torch.zeros_like(tokens).index_put(where, (drawn != masked.ids).long())
    judged = saved(case, model, tmp_path / "discriminator")(
        tokens.index_put(where, drawn), attention_mask=mask.long(), labels=replaced
    )
    assert apart(ours["replaced"] / len(batch.asked["replaced"]), judged.loss) <= FP32
