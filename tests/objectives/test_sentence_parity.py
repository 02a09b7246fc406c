"""What tasks on vectors of texts cost, against sentence-transformers on equal weights."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stemma.objectives.tasks.embedding import (
    Contrastive,
    CosineRegression,
    CrossLingual,
    Entailment,
    MultipleNegatives,
    SentenceTask,
    Triplet,
)
from stemma.spec.pooling import Pooling

from ..tiny import apart
from ..tolerances import FP32
from .sentences import RECORDS, TEXTS, Encoder, batch_of, gradients, judges, write

SIZES = (20, 12, 5)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Any]:
    """One network, as ours and as theirs."""
    folder = tmp_path_factory.mktemp("sentences") / "encoder"
    ours = write(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their packages' own
        from sentence_transformers import SentenceTransformer

        return ours, SentenceTransformer(str(folder), device="cpu")


def theirs_of(theirs: Any, make: Any, task: SentenceTask, labels: torch.Tensor | None) -> tuple[float, dict[str, Any]]:
    """Their loss, and the gradient of the token table."""
    texts = zip(*(task.texts_of(record) for record in RECORDS), strict=True)
    features = [theirs.preprocess(list(column)) for column in texts]
    theirs.zero_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = make(theirs)(features, labels)
    loss.backward()
    table = next(one for name, one in theirs.named_parameters() if name.endswith("word_embeddings.weight"))
    return float(loss.detach()), table.grad.clone()


def losses() -> Any:
    from sentence_transformers.sentence_transformer import losses

    return losses


def distance(name: str) -> Any:
    from sentence_transformers.sentence_transformer.losses.contrastive import SiameseDistanceMetric

    return {"cosine": SiameseDistanceMetric.COSINE_DISTANCE, "euclidean": SiameseDistanceMetric.EUCLIDEAN}[name]


NUMBERS = torch.tensor([record["number"] / 5 for record in RECORDS])
LABELS = torch.tensor([int(record["label"]) for record in RECORDS])
SAME = (LABELS == 2).long()
CASES: dict[str, tuple[SentenceTask, Any, torch.Tensor | None]] = {
    "cosine": (CosineRegression(high=5.0), lambda model: losses().CosineSimilarityLoss(model), NUMBERS),
    "contrastive": (
        Contrastive(labels=("0", "1", "2")),
        lambda model: losses().ContrastiveLoss(model),
        SAME,
    ),
    "contrastive far apart": (
        Contrastive(labels=("0", "1", "2"), distance="euclidean", margin=3.0),
        lambda model: losses().ContrastiveLoss(model, distance_metric=distance("euclidean"), margin=3.0),
        SAME,
    ),
    "triplet": (Triplet(margin=5.0), lambda model: losses().TripletLoss(model), None),
    "negatives": (MultipleNegatives(), lambda model: losses().MultipleNegativesRankingLoss(model), None),
    "hard negatives": (
        MultipleNegatives(hard=True, temperature=0.1),
        lambda model: losses().MultipleNegativesRankingLoss(model, scale=10.0),
        None,
    ),
    "both ways": (
        MultipleNegatives(hard=True, both_ways=True),
        lambda model: losses().MultipleNegativesRankingLoss(
            model, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
        ),
        None,
    ),
    "cached": (
        MultipleNegatives(chunk=3),
        lambda model: losses().CachedMultipleNegativesRankingLoss(model, mini_batch_size=4),
        None,
    ),
    "matryoshka cosine": (
        CosineRegression(high=5.0, dimensions=SIZES),
        lambda model: losses().MatryoshkaLoss(model, losses().CosineSimilarityLoss(model), list(SIZES)),
        NUMBERS,
    ),
    "matryoshka negatives": (
        MultipleNegatives(dimensions=SIZES),
        lambda model: losses().MatryoshkaLoss(model, losses().MultipleNegativesRankingLoss(model), list(SIZES)),
        None,
    ),
}


@pytest.mark.parametrize("packed", [None, 60])
@pytest.mark.parametrize("case", CASES)
def test_the_loss_and_its_gradient_are_theirs(case: str, packed: int | None, pair: tuple[Encoder, Any]) -> None:
    (ours, theirs), (task, make, labels) = pair, CASES[case]
    assert task.faults(ours.setting) == []
    batch = batch_of(ours, task, RECORDS, packed)
    assert (len(batch.inputs["tokens"]) < len(RECORDS)) == (packed is not None)
    loss = task.losses(ours.model, judges(task, ours.model.architecture), batch)[task.term] / len(RECORDS)
    wanted, slope = theirs_of(theirs, make, task, labels)
    assert abs(float(loss.detach()) - wanted) < FP32
    table = gradients(ours.model, loss)["embeddings.token.weight"]
    # Theirs leaves the row of the padding out.
    assert apart(table[1:], slope[1:]) < FP32


def test_entailment_is_theirs(pair: tuple[Encoder, Any]) -> None:
    ours, theirs = pair
    task = Entailment(labels=("0", "1", "2"))
    companions = judges(task, ours.model.architecture)
    loss = task.losses(ours.model, companions, batch_of(ours, task, RECORDS))["class"] / len(RECORDS)

    def make(model: Any) -> Any:
        made = losses().SoftmaxLoss(model, 20, 3)
        made.classifier.load_state_dict(companions.get_submodule("judges.20").state_dict())
        return made

    wanted, slope = theirs_of(theirs, make, task, LABELS)
    assert abs(float(loss.detach()) - wanted) < FP32
    assert apart(gradients(ours.model, loss)["embeddings.token.weight"][1:], slope[1:]) < FP32
    assert all(one.grad is not None for one in companions.parameters())


@pytest.mark.parametrize("kind", ["mean", "cls", "max"])
@pytest.mark.parametrize("sizes", [(), SIZES])
def test_a_teachers_vectors_and_their_distance_are_theirs(
    kind: Any, sizes: tuple[int, ...], pair: tuple[Encoder, Any], tmp_path: Path
) -> None:
    ours, theirs = pair
    write(tmp_path / "teacher", pooling=Pooling(kind), seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer

        right = SentenceTransformer(str(tmp_path / "teacher"), device="cpu").encode(TEXTS, convert_to_tensor=True)
    task = CrossLingual(teacher=str(tmp_path / "teacher"), dimensions=sizes)
    batch = batch_of(ours, task, RECORDS, packed=60)
    given = batch_of(ours, task, RECORDS).asked["vector"].ids
    assert apart(given, right.cpu()) < FP32
    loss = task.losses(ours.model, judges(task, ours.model.architecture), batch)["vector"] / len(RECORDS)
    if not sizes:
        wanted, slope = theirs_of(theirs, lambda model: losses().MSELoss(model), replace(task), right.clone())
        assert apart(gradients(ours.model, loss)["embeddings.token.weight"][1:], slope[1:]) < FP32
    else:
        # Theirs leaves the teacher's vectors at another length than the student's, so it is written out here.
        with torch.no_grad():
            vectors = [task.scores(ours.model, output, part, part.asked["vector"]) for output, part in read(ours, task)]
        wanted = sum(
            float(
                (torch.nn.functional.normalize(vectors[0][..., :n], dim=-1) - unit(given, n)[:, None]).square().mean()
            )
            for n in sizes
        )
    assert abs(float(loss.detach()) - wanted) < FP32


def read(ours: Encoder, task: SentenceTask) -> list[tuple[Any, Any]]:
    batch = batch_of(ours, task, RECORDS)
    return [(ours.model(**batch.inputs, scores=False), batch)]


def unit(vectors: torch.Tensor, size: int) -> torch.Tensor:
    cut = vectors[:, :size]
    return cut / cut.norm(dim=-1, keepdim=True)
