"""Which networks have what an objective needs, told by their parts; and losses in half precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from stemma.data import Row
from stemma.families import catalogue
from stemma.nn import build
from stemma.objectives import (
    BlankInfilling,
    Denoising,
    Imitation,
    Objective,
    Pass,
    PermutationLM,
    ReplacedTokens,
    Setting,
    SpanCorruption,
    Translation,
    TranslationLM,
    TwoDirections,
    collate,
    counts,
)
from stemma.spec import (
    Architecture,
    BlockPositions,
    Decoder,
    EncoderDecoder,
    Family,
    MaskedLMHead,
    Permutation,
    ReplacedTokenHead,
)
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, Scores, TiedScores
from stemma.text import Roles

from ..tiny import tiny, tiny_recurrent
from .vocabularies import document, pair, vocabulary

KNOWN = vocabulary(37, Roles(pad=0, eos=1, bos=2, mask=3), spelling=9)
LENGTH = 16


def stacks(kind: type) -> Callable[[Any], bool]:
    return lambda spec: isinstance(spec, Architecture) and isinstance(spec.stacks, kind)


def reads_words(spec: Any) -> bool:
    return isinstance(spec, Recurrent) and not isinstance(spec.tokens, Characters)


# What a network has to have.
CARRIED: Mapping[Objective, Callable[[Any], object]] = {
    ReplacedTokens(): lambda spec: spec.head(ReplacedTokenHead),
    PermutationLM(): stacks(Permutation),
    SpanCorruption(): stacks(EncoderDecoder),
    Denoising(): stacks(EncoderDecoder),
    BlankInfilling(): lambda spec: stacks(Decoder)(spec) and isinstance(spec.position, BlockPositions),
    TranslationLM(): lambda spec: spec.head(MaskedLMHead) or getattr(spec, "modules", None),
    TwoDirections(): lambda spec: spec.head(Scores) or spec.head(TiedScores),
    Translation(): lambda spec: stacks(EncoderDecoder)(spec) or reads_words(spec),
    Imitation(): stacks(Decoder),
}


def small(family: Family) -> Any:
    if family.shape is Architecture:
        return tiny(family)
    spec = tiny_recurrent(family)
    return spec.change(heads=(*spec.heads, Scores(37))) if isinstance(spec.tokens, Characters) else spec


def rows(objective: Objective) -> list[Row]:
    """Three of different lengths."""
    draws = np.random.default_rng(0)
    sizes = ((5, 4), (2, 3), (5, 2))
    texts = [[draws.choice(KNOWN.ordinary, n) for n in pair_of_sizes] for pair_of_sizes in sizes]
    if objective.reads == "pairs":
        return [pair(*both, key=(key,)) for key, both in enumerate(texts)]
    return [Row((document(np.concatenate(both), KNOWN.frame),), (key,)) for key, both in enumerate(texts)]


def learn(objective: Objective, spec: Any, precision: torch.dtype | None = None) -> list[torch.Tensor | None]:
    """Gradients of the objective's mean losses, and those of its companions."""
    learns, setting = Pass((objective,)), Setting(KNOWN, LENGTH, spec)
    model, companions = build(spec), objective.companions(setting, seed=1)
    objective.share(model, companions)
    batch = collate([learns.prepare(row, setting) for row in rows(objective)], pad=KNOWN.roles.pad or 0)
    n_targets = counts(batch)
    with torch.autocast("cpu", precision, enabled=precision is not None):
        losses = learns.losses(model, companions, batch)
        assert all(n_targets[term] for term in losses), objective.name
        total = torch.stack([learns.weight(term) * loss / n_targets[term] for term, loss in losses.items()]).sum()
    total.backward()
    return [parameter.grad for part in (model, companions) for parameter in part.parameters()]


@pytest.mark.parametrize("family", catalogue(), ids=lambda family: family.name)
def test_just_what_has_the_parts_is_carried(family: Family) -> None:
    spec = small(family)
    for objective, carried in CARRIED.items():
        faults = objective.faults(Setting(KNOWN, LENGTH, spec))
        assert (faults == []) == bool(carried(spec)), objective.name


@pytest.mark.parametrize("objective", CARRIED, ids=lambda objective: objective.name)
def test_half_precision_gives_nearly_the_same(objective: Objective) -> None:
    spec = next(spec for spec in map(small, catalogue()) if CARRIED[objective](spec))
    spec = spec.change(dropout=type(spec.dropout)())
    exact, rough = (learn(objective, spec, precision) for precision in (None, torch.bfloat16))
    pairs = [(one, other) for one, other in zip(exact, rough, strict=True) if one is not None and other is not None]
    norm = torch.stack([one.norm() for one, _ in pairs]).norm()
    assert torch.stack([(one - other).norm() for one, other in pairs]).norm() < 0.1 * norm
