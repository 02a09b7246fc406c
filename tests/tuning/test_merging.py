"""A base and what was learnt for it as one model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

import stemma
from stemma.adaptation import Adapters, Frozen, LoRA
from stemma.adaptation.prompts import PromptTuning
from stemma.data import read
from stemma.errors import StemmaError
from stemma.tuning.writing import merge_adapted

from ..tolerances import FP32
from .tiny_adapt import labelled, tiny_adapt


@pytest.mark.parametrize(
    "model", ["bert", pytest.param("gpt2", marks=pytest.mark.slow), pytest.param("t5", marks=pytest.mark.slow)]
)
def test_a_merged_model_answers_as_before(model: str, tmp_path: Path) -> None:
    tiny_adapt(tmp_path / "run", model, adaptations=(LoRA(rank=2, targets=("*",)),), old=None).train()
    assert merge_adapted(tmp_path / "run", tmp_path / "merged") == ["lora"]
    adapted, merged = stemma.load(tmp_path / "run"), stemma.load(tmp_path / "merged")
    assert merged.learnt == adapted.learnt
    assert not [name for name, _ in merged.model.named_parameters() if "lora" in name]
    texts = [record["text"] for record in read(labelled("tried", 24), {"text": "text"})]
    for one, other in zip(adapted.classify(texts), merged.classify(texts), strict=True):
        assert one == pytest.approx(other, abs=FP32)


@pytest.mark.slow
def test_transformers_opens_it(tmp_path: Path) -> None:
    tiny_adapt(tmp_path / "run", adaptations=(LoRA(rank=2),), old=None).train()
    merge_adapted(tmp_path / "run", tmp_path / "merged")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert theirs.config.id2label == {0: "bad", 1: "good"}
    ours = stemma.load(tmp_path / "run")
    for text in ("the film was lovely", "the book was dull"):
        with torch.no_grad():
            likely = theirs(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0]
        (told,) = ours.classify([text])
        assert {theirs.config.id2label[n]: float(share) for n, share in enumerate(likely)} == pytest.approx(
            told, abs=FP32
        )


def test_heads_alone_need_no_merging(tmp_path: Path) -> None:
    tiny_adapt(tmp_path / "run", adaptations=(Frozen(),), old=None, steps=2).train()
    assert merge_adapted(tmp_path / "run", tmp_path / "merged") == []
    assert stemma.load(tmp_path / "merged").classify(["the film was lovely"])


@pytest.mark.parametrize("one", [Adapters(width=3), PromptTuning(n_virtual=2)], ids=["adapters", "prompt"])
def test_what_is_no_change_of_weights_is_refused(one: Adapters | PromptTuning, tmp_path: Path) -> None:
    tiny_adapt(tmp_path / "run", adaptations=(one,), old=None, steps=1).train()
    with pytest.raises(StemmaError, match=one.kind):
        merge_adapted(tmp_path / "run", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
