"""MiniLM against sentence-transformers as it comes, on the sentences of the STS benchmark and on long passages."""

from __future__ import annotations

import csv
import sys
import xml.etree.ElementTree as ElementTree
from functools import partial
from typing import Any

from frame import SHARED, THREADS, Run

SENTENCES = SHARED / "data" / "stsb-multi-mt" / "stsb-en-test.csv"
PASSAGES = SHARED / "data" / "cranfield" / "cran.all.1400.xml"
N_PASSAGES = 1000
# The ratio that each precision owes, and how much Spearman's correlation may move.
OWED = {"float32": (1.4, 1e-4), "bfloat16": (2.7, 1e-3), "int8": (3.5, 5e-3)}


def passages() -> list[str]:
    """The longest abstracts; the model's own limit cuts the longest of them."""
    # The file is a row of documents without one root.
    root = ElementTree.fromstring(f"<all>{PASSAGES.read_text(encoding='utf-8')}</all>")
    texts = (" ".join((element.text or "").split()) for element in root.iter("text"))
    return sorted(texts, key=len, reverse=True)[:N_PASSAGES]


def correlation(embed: Any, rows: list[list[str]]) -> float:
    """Spearman's, of cosines and people's scores."""
    from scipy.stats import spearmanr

    left, right = (embed([row[place] for row in rows]) for place in (0, 1))
    return float(spearmanr((left * right).sum(1), [float(row[2]) for row in rows]).statistic)


def compare(bench: Run, rows: list[list[str]], texts: list[str]) -> None:
    """Every precision in turn against the peer's own."""
    import torch
    from sentence_transformers import SentenceTransformer

    import stemma
    from stemma.checkpoints import locate

    torch.set_num_threads(THREADS)
    peer = SentenceTransformer(str(locate("minilm").path), device="cpu")
    theirs = partial(peer.encode, show_progress_bar=False)
    exact, half = stemma.load("minilm"), stemma.load("minilm", dtype="bfloat16")
    sides = {"float32": exact.embed, "bfloat16": half.embed, "int8": partial(exact.embed, precision="int8")}
    some = texts[:: len(texts) // 400]
    expected, right = theirs(some), correlation(theirs, rows)
    bench.note("texts", len(texts))
    bench.note("Spearman, sentence-transformers", round(right, 5))
    for name, embed in sides.items():
        ratio, moves = OWED[name]
        vectors = embed(some)
        bench.note(f"{name}, largest difference", float(abs(vectors - expected).max()))
        bench.note(f"{name}, least cosine", float((vectors * expected).sum(1).min()))
        found = correlation(embed, rows)
        bench.note(f"{name}, Spearman", round(found, 5))
        bench.note(f"{name}, Spearman moves at most {moves}", abs(found - right) <= moves)
        bench.race(
            f"embed {name}",
            partial(embed, texts),
            partial(theirs, texts),
            amount=len(texts),
            unit="texts",
            least=ratio,
        )


if not (SENTENCES.is_file() and PASSAGES.is_file()):
    print(f"skipped: no texts at {SENTENCES} and {PASSAGES}")
    sys.exit()
with SENTENCES.open(encoding="utf-8", newline="") as lines:
    rows = list(csv.reader(lines))
texts = list(dict.fromkeys(text for row in rows for text in row[:2])) + passages()
with Run("embedding", rounds=3, peers=("sentence-transformers", "transformers")) as bench:
    compare(bench, rows, texts)
