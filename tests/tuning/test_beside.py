"""Several runs on the weights of one base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import stemma
from stemma.adaptation import Adaptation, BitFit, Frozen, Full, LoRA, Quantised
from stemma.adaptation.prompts import PromptTuning
from stemma.data import Labelled, read
from stemma.errors import StemmaError
from stemma.objectives.tasks import Regression

from .tiny_adapt import checkpoint, labelled, tiny_adapt


def texts() -> list[str]:
    return [record["text"] for record in read(labelled("tried", 24), {"text": "text"})]


def grown(folder: Path, *adaptations: Adaptation, **given: Any) -> Path:
    tiny_adapt(folder, "bert", adaptations=adaptations, old=None, **given).train()
    return folder


def test_runs_share_weights_and_answer_each_its_own_task(tmp_path: Path) -> None:
    classes = grown(tmp_path / "classes", LoRA(rank=2, targets=("*",)))
    prompt = grown(tmp_path / "prompt", PromptTuning(n_virtual=2), seed=1)
    marks = grown(
        tmp_path / "marks",
        Frozen(),
        LoRA(rank=3),
        task=Regression(),
        learnt=numbered("learnt", 48),
        tried=numbered("tried", 24),
    )
    lm = stemma.load(checkpoint("bert"))
    before = lm.embed(texts())
    size = sum(parameter.numel() for parameter in lm.model.parameters())
    told = [lm.beside(folder, name) for folder, name in ((classes, "classes"), (prompt, "prompt"), (marks, "marks"))]
    for one, folder in zip(told, (classes, prompt, marks), strict=True):
        records = [{"text": text} for text in texts()]
        assert one.tell(records) == stemma.load(folder).tell(records)
        assert one.model.encoder is lm.model.encoder
    assert sum(parameter.numel() for parameter in lm.model.parameters()) < 2 * size
    torch.testing.assert_close(torch.from_numpy(lm.embed(texts())), torch.from_numpy(before), atol=0, rtol=0)
    assert "classifier" not in lm.model.heads


def numbered(part: str, n: int) -> Labelled:
    source = labelled(part, n)
    return Labelled(paths=source.paths, fields={"text": "text", "number": "number"})


@pytest.mark.parametrize("changing", [Full(), BitFit(), Quantised()], ids=lambda one: one.kind)
def test_what_changes_the_base_cannot_share_it(changing: Adaptation, tmp_path: Path) -> None:
    adaptations = (changing, LoRA(rank=2)) if isinstance(changing, (Quantised, BitFit)) else (changing,)
    folder = grown(tmp_path / "run", *adaptations, steps=2)
    lm = stemma.load(checkpoint("bert"))
    before = dict(lm.model.named_parameters())
    with pytest.raises(StemmaError, match=r"changes weights of the base|adapted\.json"):
        lm.beside(folder, "one")
    assert dict(lm.model.named_parameters()).keys() == before.keys()


def test_a_damaged_run_leaves_the_base_alone(tmp_path: Path) -> None:
    folder = grown(tmp_path / "run", LoRA(rank=2), steps=2)
    file = next(folder.rglob("adaptation.safetensors"))
    file.write_bytes(file.read_bytes()[:50])
    lm = stemma.load(checkpoint("bert"))
    before = [name for name, _ in lm.model.named_parameters()]
    with pytest.raises(StemmaError):
        lm.beside(folder, "one")
    assert [name for name, _ in lm.model.named_parameters()] == before
