"""Tasks on the vectors of texts: the same however rows are laid out, on every family that carries them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stemma.errors import InputError
from stemma.families import BERT, ELMO, GPT2, MIXTRAL, T5
from stemma.objectives import counts
from stemma.objectives.tasks import Task
from stemma.objectives.tasks.asking import ask
from stemma.objectives.tasks.embedding import (
    Contrastive,
    CosineRegression,
    CrossLingual,
    Entailment,
    MultipleNegatives,
    SentenceTask,
    Triplet,
)
from stemma.objectives.tasks.embedding.likeness import best_threshold
from stemma.spec import Decoder, Encoder, Family, Permutation
from stemma.spec.pooling import Pooling, PoolingKind, Projection
from stemma.training import Learner, Lesson

from ..tiny import apart, each, tiny_recurrent
from ..tolerances import FP32
from .sentences import RECORDS, TASKS, TEXTS, batch_of, encoder, gradients, judges, write

KINDS: tuple[PoolingKind, ...] = ("mean", "cls", "max", "last", "weighted", "mean_sqrt_len")


@pytest.fixture(autouse=True)
def teacher(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A toy in place of the usual teacher, whose vectors are as wide as any toy's."""

    def taught(teacher: str, texts: Any, length: int) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((len(texts), WIDTHS[teacher])).astype(np.float32)

    monkeypatch.setattr("stemma.objectives.tasks.embedding.cross_lingual._taught", taught)


WIDTHS = {"20": 20, "24": 24}


def suited(task: SentenceTask, width: int) -> SentenceTask:
    return replace(task, teacher=str(width)) if isinstance(task, CrossLingual) else task


@each(Encoder, Decoder, Permutation)
def test_losses_do_not_depend_on_rows(family: Family) -> None:
    """Packed, or read a few rows at a time, the loss and its gradients are the same."""
    check_rows(TASKS["multiple-negatives"], family)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "multiple-negatives"])
def test_nor_do_those_of_any_task(name: str) -> None:
    check_rows(suited(TASKS[name], 20), BERT)


def check_rows(task: SentenceTask, family: Family) -> None:
    made = encoder(family)
    assert task.faults(made.setting) == []
    companions = judges(task, made.model.architecture)
    found = []
    for chunk, packed in ((None, None), (2, None), (2, 50)):
        batch = batch_of(made, task, RECORDS[:5], packed)
        losses = replace(task, chunk=chunk).losses(made.model, companions, batch)
        assert counts(batch)[task.term] == 5
        found.append((losses[task.term].detach(), gradients(made.model, losses[task.term])))
    (right, slopes), *others = found
    assert torch.isfinite(right)
    assert right > 0
    for loss, other in others:
        assert apart(loss, right) < FP32 * max(1.0, float(right))
        assert slopes.keys() == other.keys()
        for one, slope in slopes.items():
            assert apart(other[one], slope) < FP32 * max(1.0, float(slope.abs().max())), one


@pytest.mark.parametrize("kind", KINDS)
def test_texts_in_one_row_have_the_vectors_that_they_have_alone(kind: PoolingKind) -> None:
    made = encoder()
    task = CosineRegression(pooling=Pooling(kind))
    parts = {
        packed: [one for several in task.questions(RECORDS, made.scribe) for one in several] for packed in (40, None)
    }
    packed, alone = (ask(made.model, task, parts[length], packed=length) for length in parts)
    for number, (ours, theirs) in enumerate(zip(packed, alone, strict=True)):
        assert np.allclose(ours, theirs, atol=FP32)
        ids = torch.tensor([made.scribe.encode([RECORDS[number]["text"]])[0].ids])
        with torch.no_grad():
            hidden = made.model(ids, scores=False).hidden[0]
        places = torch.arange(1, len(hidden) + 1)[:, None]
        wanted = {
            "mean": hidden.mean(0),
            "cls": hidden[0],
            "max": hidden.amax(0),
            "last": hidden[-1],
            "weighted": (hidden * places).sum(0) / places.sum(),
            "mean_sqrt_len": hidden.sum(0) / len(hidden) ** 0.5,
        }
        assert apart(torch.from_numpy(ours[0, 0]), wanted[kind]) < FP32


def test_only_one_chunk_is_held_for_the_gradient() -> None:
    """What is saved for the backward pass falls with the chunk, but for the vectors themselves."""
    made, task = encoder(), MultipleNegatives()
    batch = batch_of(made, task, RECORDS)

    def saved(chunk: int | None) -> int:
        sizes = []

        def pack(x: torch.Tensor) -> torch.Tensor:
            sizes.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            replace(task, chunk=chunk).losses(made.model, judges(task, made.model.architecture), batch)
        return sum(sizes)

    assert saved(2) < saved(None) / 20


@pytest.mark.parametrize("name", TASKS)
def test_a_network_learns(name: str) -> None:
    """A few steps on a few records make the loss fall; companions learn too."""
    made = encoder()
    task = suited(TASKS[name], 20)
    batch, companions = batch_of(made, task, RECORDS, 60), judges(task, made.model.architecture)
    parameters = [*made.model.parameters(), *companions.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = task.losses(made.model, companions, batch)[task.term]
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_the_trainer_reads_them() -> None:
    made, task = encoder(), TASKS["entailment"]
    from stemma.data import Row
    from stemma.objectives import Pass

    examples = [one for several in task.examples(RECORDS, made.scribe) for one in several]
    lesson = Lesson(Pass((task,)), lambda n: Row((), (n,), examples[n % len(examples)]), made.setting, packed=40)
    learner = Learner(made.model, [lesson])
    losses = learner(0, lesson.batch(range(8)))
    assert losses.keys() == {"class"}
    losses["class"].backward()
    assert all(one.grad is not None for one in learner.companions.parameters())


def test_experts_add_the_same_in_chunks_of_all() -> None:
    made, task = encoder(MIXTRAL), MultipleNegatives()
    batch = batch_of(made, task, RECORDS[:4])
    whole, part, parts = (
        replace(task, chunk=chunk).losses(made.model, judges(task, made.model.architecture), batch)
        for chunk in (None, 4, 2)
    )
    assert whole.keys() == {"match", "balance", "router"} == parts.keys()
    assert all(apart(whole[term], part[term]) < FP32 * 10 for term in whole)
    assert apart(whole["router"], parts["router"]) < 0.5 * float(whole["router"].detach())


def test_answers_and_their_measures() -> None:
    made = encoder()

    def tried(task: SentenceTask) -> tuple[list[Any], dict[str, float]]:
        examples = list(task.questions(RECORDS, made.scribe))
        scores = ask(made.model, task, [one for (one,) in examples], packed=40)
        told = [task.told(record, asked, [one]) for record, asked, one in zip(RECORDS, examples, scores, strict=True)]
        return told, dict(task.measure(RECORDS, told))

    cosines, figures = tried(TASKS["cosine-regression"])
    assert all(-1 <= cosine <= 1 for cosine in cosines)
    assert figures.keys() == {"spearman", "pearson"}
    for name, task in TASKS.items():
        told, found = tried(task)
        assert task.measures in found, name
        assert all(-1 <= value <= 2 for value in found.values()), name
    both, found = tried(TASKS["triplet"])
    assert found["accuracy"] == np.mean([near > far for near, far in both])
    same = [{**record, "second": record["text"]} for record in RECORDS]
    examples = list(TASKS["multiple-negatives"].questions(same, made.scribe))
    scores = ask(made.model, TASKS["multiple-negatives"], [one for (one,) in examples])
    told = [TASKS["multiple-negatives"].told(r, a, [s]) for r, a, s in zip(same, examples, scores, strict=True)]
    assert TASKS["multiple-negatives"].measure(same, told) == {"matching": 1.0, "forward": 1.0, "backward": 1.0}


def test_the_best_threshold_is_the_best_of_all() -> None:
    draws = np.random.default_rng(0)
    for _ in range(50):
        n = int(draws.integers(1, 9))
        same, cosines = (draws.random(n) < 0.5).tolist(), (draws.integers(0, 5, n) / 5).tolist()
        found = best_threshold(same, cosines)
        edges = [-1.0, *(np.unique(cosines) + 0.1)]
        right = max(np.mean([(one > edge) == yes for one, yes in zip(cosines, same, strict=True)]) for edge in edges)
        assert found.accuracy == right
        assert found.accuracy == np.mean([(c > found.threshold) == yes for c, yes in zip(cosines, same, strict=True)])


def test_values_out_of_range_are_named() -> None:
    made = encoder()
    bad: dict[str, Task] = {
        "dimensions=(20, 21)": CosineRegression(dimensions=(20, 21)),
        "low=2.0": CosineRegression(low=2.0),
        "margin=-1.0": Contrastive(margin=-1.0),
        "distance": Triplet(distance="far"),  # type: ignore[arg-type]
        "temperature=0.0": MultipleNegatives(temperature=0.0),
        "chunk=0": Entailment(chunk=0),
        "without dense layers": Entailment(pooling=Pooling(projections=(Projection(20, 4),))),
    }
    for word, task in bad.items():
        assert word in " ".join(map(str, task.faults(made.setting))), word


@pytest.mark.parametrize("family", [T5, ELMO], ids=lambda family: family.name)
def test_networks_that_mix_the_texts_of_a_row_are_refused(family: Family) -> None:
    setting = encoder(BERT)[2]
    spec = tiny_recurrent(family) if family is ELMO else encoder(family).model.architecture
    for task in TASKS.values():
        (fault,) = task.faults(setting._replace(spec=spec))
        assert "one stack" in fault.rule


def test_unlike_numbers_of_hard_negatives_are_refused() -> None:
    records = [RECORDS[0], {**RECORDS[1], "negatives": ("a cat",)}]
    with pytest.raises(InputError, match=r"negatives=\[1, 2\] must be one number"):
        list(MultipleNegatives(hard=True).examples(records, encoder().scribe))


def test_a_teacher_of_another_width_is_refused() -> None:
    with pytest.raises(InputError, match="gives vectors of 24 numbers where the network's have 20"):
        list(CrossLingual(teacher="24").examples(RECORDS, encoder().scribe))
    # Once learnt, nothing is asked of the teacher.
    assert len(list(CrossLingual(teacher="nowhere").questions(RECORDS, encoder().scribe))) == len(RECORDS)


def test_roles() -> None:
    assert CosineRegression().roles() == {"text": "text", "second": "text", "number": "number"}
    assert Triplet().roles() == {"text": "text", "second": "text", "negative": "text"}
    assert MultipleNegatives(hard=True).roles() == {"text": "text", "second": "text", "negatives": "texts"}
    assert MultipleNegatives(hard=True).roles(records=False) == {"text": "text", "second": "text"}
    assert Entailment().named(RECORDS).labels == ("0", "1", "2")
    assert Entailment().named(RECORDS).same == "2"
    assert Entailment(positive="0").named(RECORDS).same == "0"


def test_a_teacher_without_a_folder_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    write(tmp_path / "bare", GPT2)
    for path in (tmp_path / "bare").glob("token*"):
        path.unlink()
    with pytest.raises(InputError, match="is no folder with a tokenizer"):
        list(CrossLingual(teacher=str(tmp_path / "bare")).examples(RECORDS, encoder().scribe))
    assert TEXTS
