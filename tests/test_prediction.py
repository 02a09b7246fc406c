"""Records to answers: in order, whatever their length; and a folder that tells its task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import stemma
from stemma.data import Record
from stemma.errors import CheckpointError, InputError
from stemma.families import BERT, GPT2, T5, XLNET
from stemma.objectives.tasks import TASKS, Choice, Classification, Extraction, Regression, Tagging, TextToText
from stemma.prediction import Learnt, Mention, evaluate, predict, read_task, task_of, write_task
from stemma.prediction.verbs import _places
from stemma.pretrained import Pretrained
from stemma.spec import Family
from stemma.spec.tasks import AnswerHead, ClassifierHead, TaggerHead

from .objectives.asked import LENGTH, RECORDS, TEXTS, network, setting, task, tokenizer


def loaded(name: str, of: Family = BERT, kind: str = "wordpiece", learnt: bool = True, **facts: Any) -> Pretrained:
    asked = task(name)
    model = network(of, asked, tokenizer(kind))
    return Pretrained(
        of.name, model, tokenizer(kind), of, None, facts, learnt=Learnt(asked, LENGTH) if learnt else None
    )


def flat(told: Any) -> list[float]:
    """The numbers of an answer."""
    values = list(told.values()) if isinstance(told, Mapping) else told
    if isinstance(values, float):
        return [values]
    if hasattr(values, "probabilities"):
        return list(values.probabilities)
    return [number for one in values for number in ([one] if isinstance(one, float) else [one.score, one.start])]


@pytest.mark.parametrize("name", ["classification", "regression", "tagging", "extraction", "choice", "cloze"])
def test_answers_do_not_depend_on_company(name: str) -> None:
    model, scribe, asked = setting(name, BERT)
    records: list[Record] = RECORDS[name] * 3
    together = predict(model, scribe, asked, records)
    alone = [predict(model, scribe, asked, [record])[0] for record in RECORDS[name]] * 3
    for one, other in zip(together, alone, strict=True):
        assert flat(one) == pytest.approx(flat(other), abs=1e-5)


@pytest.mark.parametrize(("of", "kind"), [(T5, "unigram"), (GPT2, "bytebpe")], ids=["pair", "decoder"])
def test_texts_are_written_in_order(of: Family, kind: str) -> None:
    model, scribe, asked = setting("text-to-text", of, kind, template="film: {text} so: ")
    records = [{"text": text} for text in (TEXTS[2], "dog", TEXTS[0])]
    together = predict(model, scribe, asked, records)
    assert together == [predict(model, scribe, asked, [record])[0] for record in records]


def test_what_is_learnt_is_told() -> None:
    """A few steps of plain descent, then each record is told as it was learnt."""
    from stemma.objectives import collate

    from .objectives.asked import mean_losses

    model, scribe, asked = setting("tagging", BERT)
    records = RECORDS["tagging"]
    batch = collate([row for several in asked.examples(records, scribe) for row in several])
    steps = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(30):
        steps.zero_grad()
        mean_losses(asked, model, batch).backward()
        steps.step()
    assert evaluate(model, scribe, asked, records)["f1"] == 1.0
    assert model.training is False


# --- task.json ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in TASKS if name in RECORDS])
def test_a_task_comes_back(name: str, tmp_path: Path) -> None:
    asked = task(name)
    write_task(Learnt(asked, 77), tmp_path)
    assert read_task(tmp_path) == Learnt(asked, 77)
    assert read_task(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"format": 1, "task": {"name": "tagging", "labels": ["O", 3], "pear": 1}, "lenght": 5}, "3 faults"),
        ({"format": 2, "task": {"name": "tags"}}, "2 faults"),
        ({"format": 1, "task": {"name": "cloze", "template": "{text}"}}, "needs the gap"),
        ({"format": 1, "task": {"name": "tagging"}, "length": 0}, "length=0 must be at least 1"),
        ({"format": 1, "task": 5}, "is no task"),
    ],
)
def test_every_fault_of_a_task_file_is_named(content: Any, told: str, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match=told):
        read_task(tmp_path)


def test_heads_tell_the_task() -> None:
    spec = network(BERT, task("tagging"), tokenizer()).architecture
    names = {"id2label": {"0": "no", "1": "yes"}}

    def of(*heads: Any, **facts: Any) -> Any:
        return task_of(spec.change(heads=heads), facts)

    assert of(ClassifierHead(2, "first"), **names) == Classification(labels=("no", "yes"))
    assert of(TaggerHead(2)) == Tagging(labels=("LABEL_0", "LABEL_1"))
    assert of(ClassifierHead(1, "first")) == of(ClassifierHead(1, "first"), problem_type="regression") == Regression()
    assert of(ClassifierHead(1, "first"), problem_type="multiple_choice") == Choice()
    assert of(AnswerHead()) == Extraction()
    assert of() is None
    with pytest.raises(InputError, match="several classes at once"):
        of(ClassifierHead(2, "first"), problem_type="multi_label_classification")


# --- Verbs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learnt", [True, False])
def test_a_saved_model_tells_the_same(learnt: bool, tmp_path: Path) -> None:
    lm = loaded("classification", learnt=learnt, id2label=dict(enumerate("abc")))
    lm.facts = {"id2label": {"0": "bad", "1": "dull", "2": "good"}}
    lm.save(tmp_path / "saved")
    again = stemma.load(tmp_path / "saved")
    assert again.learnt == lm.learnt
    assert again.classify(TEXTS) == lm.classify(TEXTS)
    assert set(again.classify(TEXTS)[0]) == {"good", "bad", "dull"}


def test_classes_of_pairs() -> None:
    lm = loaded("classification", learnt=False)
    (one,) = lm.classify(["the film"], ["a dog"])
    (other,) = lm.classify(["the film"])
    assert set(one) == {"LABEL_0", "LABEL_1", "LABEL_2"}
    assert one != other
    with pytest.raises(InputError, match="are not as many"):
        lm.classify(["the film"], ["a", "b"])
    alone = loaded("classification")
    with pytest.raises(InputError, match="are not read by it"):
        alone.classify(["the film"], ["a dog"])
    assert alone.learnt is not None
    alone.learnt = Learnt(replace(task("classification"), pair=True))  # type: ignore[call-arg]
    with pytest.raises(InputError, match="are read by this model"):
        alone.classify(["the film"])


def test_mentions_stand_where_they_say() -> None:
    lm = loaded("tagging")
    with torch.no_grad():
        lm.model.heads["tagger"].score.bias[task("tagging").labels.index("B-loc")] += 100
    sentence = "a dog in New York, good or bad."
    for found in (lm.tag([sentence])[0], lm.tag([sentence.split()])[0]):
        assert found
        for one in found:
            assert isinstance(one, Mention)
            assert sentence[one.start : one.end] == one.text
            assert one.type == "loc"
            assert 0 < one.score <= 1
    assert lm.tag([sentence])[0][-1].text == "."
    assert [sentence[start:end] for start, end in _places(sentence)][-3:] == ["or", "bad", "."]
    assert [sentence[start:end] for start, end in _places(sentence.split())] == sentence.split()


def test_answers_and_choices() -> None:
    lm = loaded("extraction", XLNET)
    spans = lm.answer("what film?", TEXTS[0] * 4, n_best=3)
    assert len(spans) == 3
    assert [(TEXTS[0] * 4)[span.start : span.end] for span in spans] == [span.text for span in spans]
    assert "" in [span.text for span in lm.answer("what film?", TEXTS[0], threshold=0.0)]
    shares = loaded("choice", GPT2, "bytebpe").choose("the film was", ["good", "bad", "dull"])
    assert sum(shares) == pytest.approx(1)
    assert len(shares) == 3


def test_any_task_is_told() -> None:
    lm = loaded("text-to-text", GPT2, "bytebpe")
    assert len(lm.tell([{"text": text} for text in TEXTS])) == 3
    with pytest.raises(InputError, match="record 2: text=None is missing"):
        lm.tell([{"text": "a"}, {"question": "b"}])


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda lm: lm.tag(["a"]), "of the task classification' does not tell tags of words"),
        (lambda lm: lm.answer("a", "b"), "does not tell answers"),
        (lambda lm: lm.choose("a", ["b", "c"]), "does not tell which of several"),
        (lambda lm: lm.classify("a"), "must be a sequence of strings"),
        (lambda lm: lm.classify(["a", " "]), r"texts\[1\]=' ' must hold more than white space"),
    ],
)
def test_what_a_model_cannot_tell_is_said(ask: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        ask(loaded("classification"))


def test_a_model_without_a_head_names_what_it_has() -> None:
    lm = loaded("text-to-text", GPT2, "bytebpe", learnt=False)
    with pytest.raises(InputError, match="a network with lm' does not tell classes of a text; name a model that does"):
        lm.classify(["a"])
    assert isinstance(task("text-to-text"), TextToText)


@pytest.mark.parametrize("sentences", ["a b", [""], [[]]])
def test_sentences_are_a_sequence(sentences: Any) -> None:
    with pytest.raises(InputError, match="must be a sequence of texts"):
        loaded("tagging").tag(sentences)
