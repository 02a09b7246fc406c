"""Every way in which a tuning run cannot begin: one error that tells all, and nothing written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import stemma
from stemma.adaptation import LoRA, TopLayers
from stemma.data import Files, Labelled
from stemma.errors import StemmaError
from stemma.objectives.tasks import Cloze, TextToText
from stemma.training.run_file import read_as
from stemma.tuning import Adapt

from .tiny_adapt import checkpoint, labelled, tiny_adapt


def written(folder: Path, lines: str) -> Labelled:
    path = folder / "records.tsv"
    path.write_text(lines, encoding="utf-8")
    return Labelled(paths=(str(path),))


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "length": ({"length": 4000}, ["length=4000 exceeds the network's", "positions; use"]),
    "no model": ({"model": "no-such-model"}, ["no-such-model"]),
    "no file": ({"tried": Labelled(paths=("nowhere.tsv",))}, ["nowhere.tsv"]),
    "no column": ({"learnt": labelled(fields={"label": "mood", "text": "review"})}, ["mood", "review"]),
    "another network": (
        {"task": TextToText(), "learnt": labelled(fields={"target": "label"}), "tried": None},
        ["a network that writes"],
    ),
    "no mask": ({"task": Cloze(), "model": "gpt2"}, ["a network that fills masks"]),
    "layers": ({"adaptations": (TopLayers(layers=9),)}, ["top_layers.layers=9 must be from 1 to the 2 blocks"]),
    "roles": (
        {"adaptations": (LoRA(targets=("gate", "query"), rank=0),)},
        ["lora.targets='gate'", "lora.rank=0"],
    ),
    "no old text": ({"old": Files(paths=("nowhere/*.txt",))}, ["nowhere/*.txt"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_run_cannot_begin_with_is_told_in_full(name: str, tmp_path: Path) -> None:
    changes, told = WRONG[name]
    model = changes.get("model", "bert")
    run = tiny_adapt(tmp_path / "run", model, **{key: value for key, value in changes.items() if key != "model"})
    with pytest.raises(StemmaError) as raised:
        run.train()
    assert [part for part in told if part not in str(raised.value)] == []
    assert not (tmp_path / "run").exists()


def test_a_label_that_was_not_learnt(tmp_path: Path) -> None:
    tried = written(tmp_path, "text\tlabel\nthe film was warm\tgood\nthe film was long\tmixed\n")
    with pytest.raises(StemmaError, match=r"records\.tsv.*3.*label='mixed' is not among the labels bad, good"):
        tiny_adapt(tmp_path / "run", tried=tried).train()
    with pytest.raises(StemmaError, match=r"labels.*must be at least two"):
        tiny_adapt(tmp_path / "run", learnt=written(tmp_path, "text\tlabel\na film\tgood\n")).train()
    assert not (tmp_path / "run").exists()


def test_old_text_cannot_be_replayed_where_there_is_none_or_no_head_tells_words(tmp_path: Path) -> None:
    with pytest.raises(StemmaError, match=r"replay=0\.5 needs old text"):
        tiny_adapt(tmp_path / "run", replay=0.5, old=None)
    with pytest.raises(StemmaError) as raised:
        tiny_adapt(tmp_path / "run", replay=1.5, epochs=-1.0, length=1, adaptations=(), rows=0)
    assert {fault.field for fault in raised.value.faults} >= {"replay", "epochs", "length", "adaptations", "rows"}


BROKEN = """
model = "minilm"
epoch = 3
folder = "runs/x"
[task]
name = "classifying"
[learnt]
paths = ["a.tsv"]
field = {label = 1}
[[adaptations]]
kind = "lorra"
[[adaptations]]
kind = "lora"
rang = 8
rank = "8"
"""


def test_a_run_file_tells_all_its_faults_at_once(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(BROKEN, encoding="utf-8")
    with pytest.raises(StemmaError) as raised:
        read_as(Adapt, tmp_path / "run.toml", ["rows=x"])
    told = {fault.field for fault in raised.value.faults}
    assert told >= {
        "epoch",
        "task.name",
        "learnt.field",
        "adaptations.0.kind",
        "adaptations.1.rang",
        "adaptations.1.rank",
        "rows",
    }


def test_what_was_learnt_for_another_base(tmp_path: Path) -> None:
    tiny_adapt(tmp_path / "run", adaptations=(LoRA(rank=2),), old=None, steps=1).train()
    told = json.loads((tmp_path / "run" / "adapted.json").read_text())
    (tmp_path / "run" / "adapted.json").write_text(json.dumps(told | {"model": checkpoint("gpt2")}))
    with pytest.raises(StemmaError, match="base"):
        stemma.load(tmp_path / "run")
    (tmp_path / "run" / "adapted.json").write_text(json.dumps(told | {"format": 99}))
    with pytest.raises(StemmaError, match="format=99 must be 1"):
        stemma.load(tmp_path / "run")
    (tmp_path / "run" / "adapted.json").write_text(json.dumps(told | {"model": str(tmp_path / "nowhere")}))
    with pytest.raises(StemmaError, match="nowhere"):
        stemma.load(tmp_path / "run")


def test_folders_of_other_things(tmp_path: Path) -> None:
    run = tiny_adapt(tmp_path / "run", adaptations=(LoRA(rank=2),), old=None, steps=1)
    run.train()
    with pytest.raises(StemmaError, match="holds another run, or this one with other settings"):
        tiny_adapt(tmp_path / "run", seed=1).train()
    for name in ("checkpoints", "model", "adaptations"):
        folder = tmp_path / name
        (folder / name).mkdir(parents=True)
        (folder / name / "diary.txt").touch()
        with pytest.raises(StemmaError, match=f"holds {name} of something else than a run; choose another"):
            tiny_adapt(folder).train()
        assert [path.name for path in folder.rglob("*")] == [name, "diary.txt"]
    shutil.rmtree(tmp_path / "run" / "adaptations" / "lora")
    with pytest.raises(StemmaError):
        stemma.load(tmp_path / "run")
