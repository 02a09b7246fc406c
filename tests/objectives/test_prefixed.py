"""Rows with ids before their texts, for what each objective asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stemma.data import Frame, Row
from stemma.families import BART, BERT, GLM, GPT2, SPANBERT, T5, XLNET
from stemma.objectives import (
    BlankInfilling,
    CausalLM,
    Denoising,
    MaskedLM,
    Objective,
    Pass,
    PermutationLM,
    PrefixLM,
    Setting,
    SpanCorruption,
    SpanLM,
    collate,
)
from stemma.objectives.prefixed import with_prefix
from stemma.spec import Family

from ..tiny import random_model, tiny
from .vocabularies import BOUNDED, document, vocabulary

KNOWN = vocabulary(37, BOUNDED)
FRAME = Frame((0,), (2,))
TEXTS = [document(np.arange(10, 16), FRAME), document(np.arange(20, 24), FRAME)]
IDS = (30, 29, 28)
CASES: list[tuple[Family, Objective, int]] = [
    (GPT2, CausalLM(), 2),
    (GPT2, CausalLM(across=True), 2),
    (GPT2, PrefixLM(), 1),
    (BERT, MaskedLM(rate=0.5), 2),
    (SPANBERT, SpanLM(rate=0.5, longest=2), 1),
    (XLNET, PermutationLM(rate=0.5), 1),
    (GLM, BlankInfilling(rate=0.3), 1),
    (T5, SpanCorruption(rate=0.4), 1),
    (BART, Denoising(), 1),
]


@pytest.mark.parametrize(
    ("family", "objective", "n"), CASES, ids=[f"{family.name}-{one.name}-{n}" for family, one, n in CASES]
)
def test_the_same_is_asked_about_the_same_tokens(family: Family, objective: Objective, n: int) -> None:
    spec = tiny(family)
    learns = Pass((objective,))
    plain = [learns.prepare(Row(tuple(TEXTS[:n]), (key,)), Setting(KNOWN, 16, spec)) for key in range(3)]
    for side in ("tokens", "decoder_tokens") if "decoder_tokens" in plain[0].inputs else ("tokens",):
        prefixed = [with_prefix(example, IDS, side) for example in plain]
        for before, after in zip(plain, prefixed, strict=True):
            begins = sum(side == "tokens" and n == 2 and "documents" in before.inputs for _ in range(1)) + 1
            assert len(after.inputs[side]) == len(before.inputs[side]) + len(IDS) * begins
            assert tuple(after.inputs[side][: len(IDS)]) == IDS
            asked = "decoder_tokens" if "decoder_tokens" in before.inputs else "tokens"
            for term, target in before.targets.items():
                moved = after.targets[term]
                assert moved.ids.tolist() == target.ids.tolist()
                if term != "boundaries":
                    assert after.inputs[asked][moved.places].tolist() == before.inputs[asked][target.places].tolist()
            if "spans" in before.inputs:
                assert after.tokens[after.inputs["spans"]].tolist() == before.tokens[before.inputs["spans"]].tolist()
        losses = learns.losses(random_model(spec), torch.nn.ModuleDict(), collate(prefixed))
        assert all(torch.isfinite(loss) for loss in losses.values())


def test_what_tells_of_tokens_goes_with_them() -> None:
    names = ("segments", "languages", "ranks", "mask")
    row = Pass((PrefixLM(),)).prepare(Row((TEXTS[0],)), Setting(KNOWN, 16, tiny(GPT2)))
    given = {"segments": [0, 0, 0, 0, 1, 1, 1, 1], "languages": [4] * 8, "ranks": [-1, 2] * 4, "mask": [True] * 8}
    changed = row.change(inputs={name: np.array(value) for name, value in given.items()})
    after = with_prefix(changed, IDS)
    assert int(after.inputs["prefix"]) == int(row.inputs["prefix"]) + 3
    assert [after.inputs[name].tolist()[:4] for name in names] == [[0] * 4, [4] * 4, [-1] * 4, [True] * 4]
    assert all(after.inputs[name].tolist()[3:] == given[name] for name in names)


def test_places_in_two_tables() -> None:
    plain = Pass((BlankInfilling(rate=0.3),)).prepare(Row((TEXTS[0],)), Setting(KNOWN, 16, tiny(GLM)))
    after = with_prefix(plain, IDS).inputs["places"]
    assert after[:, :3].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert (after[:, 3:] - plain.inputs["places"]).tolist() == [[3] * len(plain.tokens), [0] * len(plain.tokens)]
