"""Measures of vectors of texts."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

import stemma
from stemma.errors import InputError
from stemma.evaluation import clustering, kmeans, retrieval, similarity, translation

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
VECTORS = {"cat": [3, 0], "kitten": [2, 0.1], "dog": [0, 1], "puppy": [0.1, 4], "Katze": [1, 0], "Hund": [0.5, 1]}


def embed(texts: Sequence[str]) -> np.ndarray:
    return np.array([VECTORS[text] for text in texts], dtype=np.float32)


def test_similarity_ranks_cosines() -> None:
    found = similarity(embed, ["cat", "cat", "dog"], ["kitten", "dog", "Hund"], [5.0, 0.0, 4.0])
    assert found["spearman"] == 1.0
    assert 0.9 < found["pearson"] < 1.0
    with pytest.raises(InputError, match="seconds=1 are not as many as the 2 texts"):
        similarity(embed, ["cat", "dog"], ["dog"], [1.0, 2.0])


def test_translation_is_matched_each_way() -> None:
    assert translation(embed, ["cat", "dog"], ["Katze", "Hund"]) == (1.0, 1.0)
    assert translation(embed, ["dog", "cat"], ["Katze", "Hund"]) == (0.0, 0.0)


def test_retrieval_finds_what_is_judged() -> None:
    documents = {"1": "kitten", "2": "puppy", "3": "Hund"}
    found = retrieval(embed, {"a": "cat", "b": "dog"}, documents, {"a": {"1": 1}, "b": {"3": 2, "2": 1}}, k=2)
    # The second query finds the less relevant document first.
    wanted = (1 + (1 + 2 / np.log2(3)) / (2 + 1 / np.log2(3))) / 2
    assert found["ndcg@2"] == pytest.approx(wanted)
    assert (found["recall@2"], found["mrr@2"], found["map@2"]) == (1.0, 1.0, 1.0)


def test_judgements_of_what_is_not_there_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        retrieval(embed, {"a": "cat"}, {"1": "dog"}, {"b": {"9": 1}})
    words = str(caught.value)
    assert "queries=['b'] are judged" in words
    assert "documents=['9'] are judged" in words


def test_clusters_are_the_classes() -> None:
    texts = ["cat", "kitten", "dog", "puppy", "Katze"]
    found = clustering(embed, texts, ["a", "a", "b", "b", "a"])
    assert found == {"v_measure": 1.0, "adjusted_rand": 1.0, "purity": 1.0}
    with pytest.raises(InputError, match="classes=1 are not as many"):
        clustering(embed, texts, ["a"])


def test_kmeans_finds_groups_and_never_fails() -> None:
    draws = np.random.default_rng(0)
    centres = draws.standard_normal((5, 3)) * 20
    right = draws.integers(5, size=100)
    found = kmeans(centres[right] + draws.standard_normal((100, 3)), 5, seed=1)
    assert any(np.array_equal(np.array(order)[found], right) for order in permutations(range(5)))
    assert len(set(kmeans(np.zeros((4, 2)), 3).tolist())) == 1
    assert kmeans([[1.0], [2.0]], 2).tolist() in ([0, 1], [1, 0])
    for k in (0, 3):
        with pytest.raises(InputError, match="between 1 and the 2 vectors"):
            kmeans([[1.0], [2.0]], k)


@pytest.mark.slow
def test_an_encoder_finds_abstracts() -> None:
    folder = DATA / "cranfield"
    if not folder.is_dir():
        pytest.skip(f"no collection at {folder}")
    queries, documents, judgements = cranfield(folder)
    some = dict(list(queries.items())[:40])
    judged = {query: judgements[query] for query in some if query in judgements}
    wanted = {document for one in judged.values() for document in one}
    found = retrieval(stemma.load("minilm").embed, some, {name: documents[name] for name in sorted(wanted)}, judged)
    assert found["ndcg@10"] > 0.5


def cranfield(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, float]]]:
    """Queries are judged by their place in the file."""

    def parsed(name: str) -> ElementTree.Element:
        text = re.sub(r"<\?xml.*?\?>", "", (folder / name).read_text(encoding="utf-8"))
        return ElementTree.fromstring(f"<all>{text}</all>")

    def words(element: ElementTree.Element | None) -> str:
        return " ".join((element.text or "").split()) if element is not None else ""

    queries = {str(n): words(one.find("title")) for n, one in enumerate(parsed("cran.qry.xml").iter("top"), 1)}
    documents = {words(one.find("docno")): words(one.find("text")) for one in parsed("cran.all.1400.xml").iter("doc")}
    judgements: dict[str, dict[str, float]] = {}
    for line in (folder / "cranqrel.trec.txt").read_text(encoding="utf-8").splitlines():
        query, _, document, gain = line.split()
        if document in documents and documents[document] and query in queries:
            judgements.setdefault(query, {})[document] = max(0.0, float(gain))
    return queries, {name: text for name, text in documents.items() if text}, judgements
