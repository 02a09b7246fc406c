"""Names of classes in a folder, and networks with task heads for which no class was published."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stemma.checkpoints import Stored, read_folder, write_folder
from stemma.checkpoints.labels import CHOICE, label_names, labelled
from stemma.errors import CheckpointError
from stemma.families import BERT, GPT3, LLAMA, OPT, ROBERTA, task_heads
from stemma.families.task_heads import TaskKind
from stemma.nn import Model
from stemma.spec import (
    AnswerHead,
    Architecture,
    ClassifierHead,
    Family,
    LanguageModelHead,
    MaskedLMHead,
    Pooler,
    TaggerHead,
)
from stemma.spec.pooling import Pooling

from ..parity.choices import usual_architecture
from ..tiny import marked, networks, tiny

NAMES = ("bad", "fair", "good")


def stored(family: Family, kind: TaskKind, names: tuple[str, ...] = NAMES, **facts: Any) -> Stored:
    """A network of the family with the head for a task alone."""
    spec = fitted(family)
    model = Model(spec.change(heads=task_heads(family, spec, kind, len(names))), seed=3)
    return Stored(family, model, labelled(facts, names))


def fitted(family: Family) -> Architecture:
    """A small network of the family without heads, of sizes that its folders can tell."""
    if family.checkpoint is None:
        return tiny(family, heads=())
    return usual_architecture(family, family.checkpoint, replace(family.checkpoint.variants[0], heads=()))


def config_of(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return read


def change(folder: Path, **entries: Any) -> None:
    """Other entries in config.json, as somebody else's folder: without our own file."""
    config = config_of(folder) | entries
    (folder / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value != ...}))
    (folder / "stemma.json").unlink(missing_ok=True)


def test_labels_stand_in_the_configuration_both_ways(tmp_path: Path) -> None:
    write_folder(stored(BERT, "classifier", problem_type=None), tmp_path / "model")
    config = config_of(tmp_path / "model")
    assert config["id2label"] == {"0": "bad", "1": "fair", "2": "good"}
    assert config["label2id"] == {"bad": 0, "fair": 1, "good": 2}
    assert config["architectures"] == ["BertForSequenceClassification"]
    again = read_folder(tmp_path / "model")
    assert label_names(again.facts) == NAMES
    assert "label2id" not in again.facts


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"id2label": {"0": "bad", "2": "good"}}, "must give each class a name"),
        ({"id2label": {}}, "must give each class a name"),
        ({"id2label": ["bad", "fair", "good"]}, "must give each class a name"),
        ({"id2label": {"0": "bad", "1": 7, "2": "good"}}, "must give each class a name"),
        ({"label2id": {"bad": 1, "fair": 0, "good": 2}}, "contradicts id2label"),
        ({"label2id": {"bad": 0, "fair": 1}}, "contradicts id2label"),
        ({"label2id": ["bad", "fair", "good"]}, "contradicts id2label"),
        ({"num_labels": 4}, "contradicts id2label, which names 3"),
        ({"num_labels": "3"}, "must be a whole number"),
        ({"id2label": {"0": "bad", "1": "good"}, "label2id": ...}, r"classifier\.weight.* must have shape \[2, "),
        ({"id2label": ..., "label2id": ...}, r"must have shape \[2, "),
    ],
)
def test_labels_that_do_not_fit_are_one_clear_error(tmp_path: Path, entries: dict[str, Any], message: str) -> None:
    write_folder(stored(BERT, "classifier"), tmp_path / "model")
    change(tmp_path / "model", **entries)
    with pytest.raises(CheckpointError, match=message):
        read_folder(tmp_path / "model")


def test_our_own_file_may_not_be_contradicted(tmp_path: Path) -> None:
    write_folder(stored(BERT, "tagger"), tmp_path / "model")
    entries = {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config_of(tmp_path / "model") | entries))
    with pytest.raises(CheckpointError, match="must name 3 classes"):
        read_folder(tmp_path / "model")


def test_a_number_without_names_is_enough(tmp_path: Path) -> None:
    write_folder(stored(BERT, "tagger"), tmp_path / "model")
    change(tmp_path / "model", id2label=..., label2id=..., num_labels=3)
    read = read_folder(tmp_path / "model")
    assert read.architecture.head(TaggerHead) == TaggerHead(3)
    assert label_names(read.facts) == ()
    write_folder(read, tmp_path / "again")
    assert config_of(tmp_path / "again")["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}


def test_names_of_another_number_than_the_classes_are_not_written(tmp_path: Path) -> None:
    model = stored(BERT, "classifier").model
    with pytest.raises(CheckpointError, match="must name 3 classes"):
        write_folder(Stored(BERT, model, labelled({}, ("no", "yes"))), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_class_without_labels_is_not_given_old_ones(tmp_path: Path) -> None:
    """A head for answers has two scores, whatever the classifier before it told apart."""
    write_folder(stored(BERT, "answer"), tmp_path / "model")
    assert not {"id2label", "label2id", "num_labels"} & set(config_of(tmp_path / "model"))


@pytest.mark.parametrize("family", [BERT, ROBERTA, LLAMA], ids=lambda family: family.name)
def test_choices_are_told_from_one_number(family: Family, tmp_path: Path) -> None:
    spec = fitted(family)
    model = Model(spec.change(heads=task_heads(family, spec, "choice")), seed=3)
    for problem in (CHOICE, "regression"):
        write_folder(Stored(family, model, labelled({}, problem=problem)), tmp_path / problem)
        config = config_of(tmp_path / problem)
        assert config.get("problem_type") == (None if problem == CHOICE else problem)
        assert read_folder(tmp_path / problem).facts["problem_type"] == problem
    named = config_of(tmp_path / CHOICE)["architectures"][0]
    assert named.endswith("ForSequenceClassification" if family is LLAMA else "ForMultipleChoice")


def test_a_pooler_that_a_class_does_not_read_is_passed_over(tmp_path: Path) -> None:
    """As in files of many taggers, whose class had a pooler once."""
    write_folder(stored(BERT, "tagger"), tmp_path / "model")
    change(tmp_path / "model")
    file, width = tmp_path / "model" / "model.safetensors", fitted(BERT).d_model
    pooler = {"bert.pooler.dense.weight": torch.ones(width, width), "bert.pooler.dense.bias": torch.ones(width)}
    save_file(load_file(file) | pooler, file)
    assert [head.name for head in read_folder(tmp_path / "model").architecture.heads] == ["tagger"]


@pytest.mark.parametrize(
    ("family", "heads"),
    [
        (BERT, (Pooler(), MaskedLMHead(), ClassifierHead(3))),
        (BERT, (ClassifierHead(3, reads="first", dense="tanh"),)),
        (BERT, (TaggerHead(4), AnswerHead())),
        (ROBERTA, (Pooler(), ClassifierHead(3))),
        (LLAMA, (LanguageModelHead(tied=False), ClassifierHead(3, reads="last", bias=False))),
        (OPT, (TaggerHead(3),)),
        (GPT3, (LanguageModelHead(), AnswerHead())),
    ],
    ids=lambda value: value.name if isinstance(value, Family) else "+".join(head.name for head in value),
)
def test_heads_of_no_class_are_written_in_our_own_format(family: Family, heads: Any, tmp_path: Path) -> None:
    model = Model(tiny(family, heads=heads), seed=3)
    facts = labelled({"eos_token_id": 5}, NAMES, "single_label_classification")
    pooling = Pooling("mean", True, 12) if family is BERT else None
    write_folder(Stored(family, model, facts, pooling), tmp_path / "model")
    assert config_of(tmp_path / "model")["model_type"] == "stemma"
    again = read_folder(tmp_path / "model")
    assert (again.family, again.architecture, again.facts) == (family, model.architecture, facts)
    assert again.pooling == pooling
    assert all(torch.equal(one, dict(model.named_parameters())[name]) for name, one in again.model.named_parameters())


def test_heads_of_no_class_and_no_task_are_an_error_still(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="are those of no class of this format"):
        write_folder(Stored(BERT, Model(tiny(BERT, heads=(Pooler(), MaskedLMHead())), seed=3)), tmp_path / "model")


@pytest.mark.parametrize("family", marked(networks(object)))
def test_every_network_with_a_task_is_kept(family: Family, tmp_path: Path) -> None:
    spec, own = fitted(family), family.traits["heads"]
    kinds: tuple[TaskKind, ...] = ("classifier", "choice", "tagger", "answer")
    for kind, kept in product(kinds, ((), own)):
        heads = task_heads(family, spec.change(heads=kept), kind, 3)
        write_folder(Stored(family, Model(spec.change(heads=heads), seed=3)), tmp_path / "model", overwrite=True)
        again = read_folder(tmp_path / "model")
        assert again.architecture == spec.change(heads=heads)
        assert again.family is family
