"""MiniLM against sentence-transformers in float32, on the sentences of the STS benchmark."""

from __future__ import annotations

import csv
import sys
from typing import Any

from frame import SHARED, THREADS, Run

TEXTS = SHARED / "data" / "stsb-multi-mt" / "stsb-en-test.csv"
BATCH = 32


def compare(bench: Run, texts: list[str]) -> None:
    """Both sides on the same texts, in batches of one size."""
    import torch
    from sentence_transformers import SentenceTransformer

    import stemma
    from stemma.checkpoints import locate

    torch.set_num_threads(THREADS)
    ours = stemma.load("minilm")
    theirs = SentenceTransformer(str(locate("minilm").path), device="cpu")

    def our_vectors() -> Any:
        return ours.embed(texts, batch_size=BATCH)

    def their_vectors() -> Any:
        return theirs.encode(texts, batch_size=BATCH, show_progress_bar=False)

    bench.note("largest difference", float(abs(our_vectors() - their_vectors()).max()))
    bench.race("embed float32", our_vectors, their_vectors, amount=len(texts), unit="texts")


if not TEXTS.is_file():
    print(f"skipped: no sentences at {TEXTS}")
    sys.exit()
with TEXTS.open(encoding="utf-8", newline="") as lines:
    texts = list(dict.fromkeys(text for row in csv.reader(lines) for text in row[:2]))
with Run("embed", rounds=5, peers=("sentence-transformers", "transformers")) as bench:
    compare(bench, texts)
