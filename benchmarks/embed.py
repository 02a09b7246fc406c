"""MiniLM against sentence-transformers in float32, on the sentences of the STS benchmark."""

from __future__ import annotations

import csv
import sys

from frame import SHARED, THREADS, Run

import numpy as np
import stemma
import torch
from sentence_transformers import SentenceTransformer
from stemma.checkpoints import locate

TEXTS = SHARED / "data" / "stsb-multi-mt" / "stsb-en-test.csv"
BATCH = 32

if not TEXTS.is_file():
    print(f"skipped: no sentences at {TEXTS}")
    sys.exit()
torch.set_num_threads(THREADS)
with TEXTS.open(encoding="utf-8", newline="") as lines:
    texts = list(dict.fromkeys(text for row in csv.reader(lines) for text in row[:2]))
ours = stemma.load("minilm")
theirs = SentenceTransformer(str(locate("minilm").path), device="cpu")


def our_vectors() -> np.ndarray:
    """One run of ours."""
    return ours.embed(texts, batch_size=BATCH)


def their_vectors() -> np.ndarray:
    """One run of theirs."""
    return theirs.encode(texts, batch_size=BATCH, show_progress_bar=False)


with Run("embed", rounds=5, peers=("sentence-transformers", "transformers")) as bench:
    bench.note("largest difference", float(np.abs(our_vectors() - their_vectors()).max()))
    bench.race("embed float32", our_vectors, their_vectors, amount=len(texts), unit="texts")
