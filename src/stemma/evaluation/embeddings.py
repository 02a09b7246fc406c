"""How good vectors of texts are: at telling what is alike, at finding, at sorting."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stemma.errors import Fault, InputError
from stemma.evaluation.clusters import kmeans
from stemma.metrics import (
    Matching,
    adjusted_rand,
    average_precision,
    matching_accuracy,
    ndcg_at,
    pearson,
    purity,
    recall_at,
    reciprocal_rank,
    spearman,
    v_measure,
)

Embed = Callable[[Sequence[str]], NDArray[Any]]
"""What gives one vector a text, N x D: such as the `embed` of a loaded model."""


def similarity(
    embed: Embed, firsts: Sequence[str], seconds: Sequence[str], scores: Sequence[float]
) -> dict[str, float]:
    """How the cosines of pairs of texts go with what people say of them (Cer et al. 2017, STS benchmark).

    Args:
        embed: gives the vectors.
        firsts: texts.
        seconds: as many.
        scores: of the pairs, the greater the more alike.
    """
    left, right = _units(embed, firsts), _units(embed, seconds)
    _same("seconds", len(right), len(left))
    cosines = (left * right).sum(1)
    return {"spearman": spearman(scores, cosines), "pearson": pearson(scores, cosines)}


def translation(embed: Embed, firsts: Sequence[str], seconds: Sequence[str]) -> Matching:
    """How often the nearest of all translations is a text's own, each way (Artetxe and Schwenk 2019, section 4.3).

    Args:
        embed: gives the vectors.
        firsts: texts.
        seconds: their translations, in the same order.
    """
    return matching_accuracy(embed(firsts), embed(seconds))


def retrieval(
    embed: Embed,
    queries: Mapping[str, str],
    documents: Mapping[str, str],
    judgements: Mapping[str, Mapping[str, float]],
    k: int = 10,
) -> dict[str, float]:
    """How well the documents with the greatest cosines answer queries (Thakur et al. 2021, BEIR, section 3.3).

    Args:
        embed: gives the vectors.
        queries: by their names.
        documents: by their names.
        judgements: how relevant documents are to a query, by both names; those that are missing are not.
        k: how many documents are looked at.

    Raises:
        InputError: where judgements name queries or documents that are not there, or none is relevant.
    """
    judged = {document for one in judgements.values() for document in one}
    unknown = {"queries": sorted(set(judgements) - set(queries)), "documents": sorted(judged - set(documents))}
    if any(unknown.values()):
        rule, remedy = "are judged but not given", "give them, or leave their judgements out"
        faults = [Fault(what, names[:5], rule, remedy) for what, names in unknown.items() if names]
        raise InputError("retrieval", faults)
    names = list(documents)
    cosines = _units(embed, list(queries.values())) @ _units(embed, list(documents.values())).T
    found = [[names[place] for place in row[:k]] for row in np.argsort(-cosines, axis=1, kind="stable")]
    right: list[dict[Hashable, float]] = [dict(judgements.get(query, {}).items()) for query in queries]
    return {
        f"ndcg@{k}": ndcg_at(found, right, k),
        f"recall@{k}": recall_at(found, right, k),
        f"mrr@{k}": reciprocal_rank(found, right, k),
        f"map@{k}": average_precision(found, right, k),
    }


def clustering(embed: Embed, texts: Sequence[str], classes: Sequence[str], seed: int = 0) -> dict[str, float]:
    """How nearly clusters of vectors, as many as there are classes, are the classes (Muennighoff et al. 2023, MTEB).

    Args:
        embed: gives the vectors.
        texts: at least one.
        classes: the right one of each text.
        seed: of the clusters' first centres.
    """
    _same("classes", len(classes), len(texts))
    found = kmeans(_units(embed, texts), len(set(classes)), seed).tolist()
    return {
        "v_measure": v_measure(classes, found),
        "adjusted_rand": adjusted_rand(classes, found),
        "purity": purity(classes, found),
    }


def _units(embed: Embed, texts: Sequence[str]) -> NDArray[np.float64]:
    """Vectors of length 1."""
    vectors = np.asarray(embed(list(texts)), dtype=np.float64)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300))


def _same(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise InputError(
            "embeddings", Fault(what, found, f"are not as many as the {wanted} texts", "give one for each")
        )
