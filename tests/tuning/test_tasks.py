"""Tasks of every kind through one run: what it writes answers as it measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import stemma
from stemma.adaptation import LoRA
from stemma.data import read
from stemma.objectives.tasks import Classification, Cloze, Task, TextToLabel, TextToText
from stemma.objectives.tasks.embedding import CosineRegression

from .tiny_adapt import labelled, tiny_adapt

PAIRS: dict[str, Any] = dict(fields={"second": "text"})
TEXTS: dict[str, Any] = dict(fields={"target": "label"})
CASES: dict[str, tuple[str, Task, dict[str, Any]]] = {
    "written": ("gpt2", TextToText(template="{text}: ", max_new_tokens=4), TEXTS),
    "written by a pair": ("t5", TextToText(max_new_tokens=4), TEXTS),
    "chosen": ("gpt2", TextToLabel(template="{text}: ", max_new_tokens=8), {}),
    "filled in": ("bert", Cloze(words={"good": "the", "bad": "a"}), {}),
    "near": ("bert", CosineRegression(), PAIRS),
    "of a pair": ("gpt2", Classification(pair=True), PAIRS),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in CASES])
def test_a_task_is_found_again(name: str, tmp_path: Path) -> None:
    model, task, columns = CASES[name]
    parts = dict(learnt=labelled(**columns), tried=labelled("tried", 24, **columns))
    result = tiny_adapt(tmp_path, model, task=task, adaptations=(LoRA(rank=2),), steps=4, old=None, **parts).train()
    again = stemma.load(result.output)
    assert again.learnt is not None
    records = read(parts["tried"], again.learnt.task.roles())
    assert again.learnt.task.measure(records, again.tell(records)) == pytest.approx(result.scores["tried"], abs=1e-6)
