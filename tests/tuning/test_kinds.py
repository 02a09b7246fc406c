"""Every kind of adaptation on every kind of network: what a run writes is what it measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import stemma
from stemma.adaptation import Adaptation, Adapters, BitFit, Features, Frozen, Full, GradualUnfreezing, LoRA, Quantised
from stemma.adaptation.prompts import PromptTuning
from stemma.data import read
from stemma.objectives.tasks import Regression
from stemma.prediction import Learnt, evaluate, scribe_of
from stemma.training.folders import begin_network
from stemma.tuning.writing import read_adapted

from .tiny_adapt import checkpoint, labelled, tiny_adapt, vocabulary

KINDS: dict[str, tuple[Adaptation, ...]] = {
    "full": (Full(),),
    "gradual": (GradualUnfreezing(),),
    "frozen": (Frozen(),),
    "mix": (Features(layers=2, how="mix"),),
    "bitfit": (BitFit(),),
    "adapters": (Adapters(width=3),),
    "prompt": (PromptTuning(n_virtual=3),),
    "lora": (LoRA(rank=2, targets=("*",)),),
    "quantised": (Quantised(), LoRA(rank=2)),
    "both": (PromptTuning(n_virtual=2), LoRA(rank=2)),
}
WHOLE = ("full", "gradual")
RECURRENT = ("full", "gradual", "frozen", "bitfit")
SHORT = {("bert", "full"), ("bert", "mix"), ("gpt2", "quantised"), ("t5", "both"), ("ulmfit", "frozen")}
CASES = [
    pytest.param(model, kind, id=f"{model}-{kind}", marks=[] if (model, kind) in SHORT else pytest.mark.slow)
    for model in ("bert", "gpt2", "t5", "ulmfit")
    for kind in KINDS
    if model != "ulmfit" or kind in RECURRENT
]


@pytest.mark.parametrize(("model", "kind"), CASES)
def test_what_a_run_writes_answers_as_it_measured(model: str, kind: str, tmp_path: Path) -> None:
    run = tiny_adapt(tmp_path, model, task=Regression(high=2.0), adaptations=KINDS[kind])
    result = run.train()
    assert (result.ended, result.steps) == ("steps", 12)
    assert 0 < result.trained <= result.total
    assert result.forgetting is not None
    learnt = {"model"} if kind in WHOLE else {"adapted.json", "adaptations"}
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "run.toml", "run.jsonl", "run.json", *learnt}
    assert result.output == str(tmp_path / "model" if kind in WHOLE else tmp_path)
    scores = again(Path(result.output), model, kind)
    # Of scores that hardly differ a correlation magnifies the last bits.
    assert scores["mean_squared_error"] == pytest.approx(result.scores["tried"]["mean_squared_error"], abs=1e-6)


def again(at: Path, model: str, kind: str) -> Mapping[str, float]:
    """The scores of what a run wrote."""
    task = Regression(high=2.0)
    records = read(labelled("tried", 24), task.roles())
    if model != "ulmfit":
        loaded = stemma.load(at)
        assert loaded.learnt == Learnt(task, 24)
        return task.measure(records, loaded.tell(records))
    network = begin_network(str(at), 0, 0).model if kind in WHOLE else read_adapted(at).stored.model
    return evaluate(network, scribe_of(network, vocabulary(model), 24), task, records)


@pytest.mark.parametrize(
    ("model", "kind"), [case for case in CASES if case.values[1] not in (*WHOLE, "quantised", "bitfit")]
)
def test_the_base_stays_as_it_was(model: str, kind: str, tmp_path: Path) -> None:
    base = begin_network(checkpoint(model), 0, 0).model
    tiny_adapt(tmp_path, model, adaptations=KINDS[kind], tried=None, old=None, steps=3).train()
    adapted = dict(read_adapted(tmp_path).stored.model.named_parameters())
    assert all(torch.equal(adapted[name], one) for name, one in base.named_parameters())


def test_features_are_kept_and_used_again(tmp_path: Path) -> None:
    for name in ("first", "second"):
        tiny_adapt(tmp_path / name, adaptations=KINDS["frozen"], cache=tmp_path / "cache").train()
    kept = sorted((tmp_path / "cache" / "features").iterdir())
    assert len(kept) == 2, "of what is learnt, and of what is tried"
    stamps = [(one / "features.npy").stat().st_mtime_ns for one in kept]
    tiny_adapt(tmp_path / "third", adaptations=KINDS["frozen"], cache=tmp_path / "cache", seed=1).train()
    assert [(one / "features.npy").stat().st_mtime_ns for one in kept] == stamps
