"""What a teacher adds to an objective."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from stemma.checkpoints import Stored, write_folder
from stemma.data import Frame
from stemma.errors import InputError
from stemma.families import BERT, ELECTRA, GPT2, MIXTRAL
from stemma.nn.heads import Product
from stemma.objectives import (
    Batch,
    CausalLM,
    Distillation,
    MaskedLM,
    Objective,
    Pass,
    ReplacedTokens,
    Setting,
    collate,
    counts,
)
from stemma.objectives.distillation import summed_divergence
from stemma.spec import Family, MaskedLMHead

from ..tiny import random_model, tiny, untold
from .vocabularies import CLASSED, row, texts, vocabulary

KNOWN = vocabulary(37, CLASSED, sentinels=0)
FRAME = Frame((1,), (2,))
CASES = {"causal": (GPT2, CausalLM()), "mlm": (BERT, MaskedLM(rate=0.4))}


def taught(folder: Path, family: Family, of: Objective, **options: float) -> tuple[Distillation, Setting]:
    assert family.checkpoint is not None, "a teacher has a folder"
    heads = (MaskedLMHead(),) if family is BERT else family.traits["heads"]
    spec = tiny(family, heads=heads, **untold(family.checkpoint))
    write_folder(Stored(family, random_model(spec, seed=1)), folder / "teacher")
    return Distillation(teacher=str(folder / "teacher"), of=of, **options), Setting(KNOWN, 16, spec)


def batch_of(objective: Objective, setting: Setting) -> Batch:
    learns = Pass((objective,))
    rows = [row(text[: 12 - 3 * key], FRAME, (key,)) for key, text in enumerate(texts(KNOWN, 36, 12))]
    return collate([learns.prepare(one, setting) for one in rows])


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_plain_formulas(case: str, temperature: float, tmp_path: Path) -> None:
    objective, setting = taught(tmp_path, *CASES[case], temperature=temperature, mix=0.3)
    assert objective.faults(setting) == []
    assert objective.reads == CASES[case][1].reads
    companions, model = objective.companions(setting, seed=0), random_model(setting.spec)
    batch = batch_of(objective, setting)
    term, *others = batch.asked
    assert others == [f"{term}_taught"]
    losses = objective.losses(model, companions.train(), batch)
    asked = batch.asked[term]
    ours, theirs = (net(**batch.inputs).logits[asked.rows, asked.places] for net in (model, companions["teacher"]))
    assert torch.allclose(losses[term], functional.cross_entropy(ours, asked.ids, reduction="sum"), atol=1e-4)
    q = (theirs / temperature).softmax(-1)
    wanted = temperature**2 * (q * (q.log() - (ours / temperature).log_softmax(-1))).sum()
    assert torch.allclose(losses[f"{term}_taught"], wanted, atol=1e-4)
    learns = Pass((objective,))
    assert (learns.weight(term), learns.weight(f"{term}_taught")) == (0.7, 0.3)
    assert counts(batch)[term] == counts(batch)[f"{term}_taught"]


def test_the_teacher_learns_nothing(tmp_path: Path) -> None:
    objective, setting = taught(tmp_path, *CASES["causal"])
    companions, model = objective.companions(setting, seed=0), random_model(setting.spec)
    sum(objective.losses(model, companions, batch_of(objective, setting)).values()).backward()
    assert all(part.grad is None and not part.requires_grad for part in companions.parameters())
    assert all(part.grad is not None for part in model.parameters())


def test_a_pupil_that_is_its_teacher_has_nothing_to_learn(tmp_path: Path) -> None:
    objective, setting = taught(tmp_path, *CASES["causal"], mix=1.0)
    companions = objective.companions(setting, seed=0)
    losses = objective.losses(random_model(setting.spec, seed=1), companions, batch_of(objective, setting))
    assert abs(losses["next_taught"].item()) < 1e-4


@pytest.mark.parametrize("chunk", [1, 150, 10**6])
def test_chunks_and_their_gradients_are_those_of_the_whole(chunk: int) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    teacher, student = Product(drawn(9, 4), drawn(30, 4), None), Product(drawn(9, 6), drawn(30, 6), drawn(30))
    for part in student:
        part.requires_grad_()
    found = summed_divergence(teacher, student, 2.0, chunk)
    q, p = (functional.linear(*product) / 2.0 for product in (teacher, student))
    wanted = 4.0 * functional.kl_div(p.log_softmax(-1), q.softmax(-1), reduction="sum")
    assert torch.allclose(found, wanted, atol=1e-12)
    for left, right in zip(torch.autograd.grad(found, student), torch.autograd.grad(wanted, student), strict=True):
        assert torch.allclose(left, right, atol=1e-12)


def test_experts_are_balanced_as_before(tmp_path: Path) -> None:
    objective, setting = taught(tmp_path, MIXTRAL, CausalLM())
    companions, model = objective.companions(setting, seed=0), random_model(setting.spec)
    batch, plain = batch_of(objective, setting), batch_of(CausalLM(), setting)
    found, wanted = objective.losses(model, companions, batch), CausalLM().losses(model, companions, plain)
    for term in ("balance", "router"):
        assert torch.allclose(found[term] / counts(batch)[term], wanted[term] / counts(plain)[term], atol=1e-6)


def test_a_teacher_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    objective, setting = taught(tmp_path, *CASES["causal"])
    with pytest.raises(InputError, match="has 37 tokens where the network has 40"):
        objective.companions(setting._replace(spec=tiny(GPT2, vocab=40)), seed=0)


def test_what_is_missing_is_named() -> None:
    bad = Distillation(teacher="", of=ReplacedTokens(), temperature=0.0, mix=2.0)
    words = " ".join(map(str, bad.faults(Setting(KNOWN, 16, ELECTRA.build()))))
    assert all(word in words for word in ("not rtd", "temperature=0.0", "mix=2.0"))
