"""Text to shards on disk against raw `tokenizers`, which leaves its ids in memory, over Python's own library."""

from __future__ import annotations

import json
import os
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from frame import Run

os.environ["TOKENIZERS_PARALLELISM"] = "true"  # both sides take all cores
SIZE = 10_000_000  # bytes of text
LEARNT = 2_000_000  # of which the vocabulary is learnt


def texts() -> Iterator[str]:
    """Files of source code, as many as make up the size."""
    held = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("**/*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if held >= SIZE:
            return
        held += len(text.encode())
        yield text


def compare(bench: Run, folder: Path) -> None:
    """Both sides on the same texts with the same vocabulary."""
    from stemma.data import Files, tokenise
    from stemma.text import train

    documents = list(texts())
    n_bytes = sum(len(text.encode()) for text in documents)
    learnt = "".join(documents)[:LEARNT].splitlines(keepends=True)
    tokenizer = train(learnt, vocab_size=32_000)
    file = folder / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
    source, numbers = Files(paths=(str(file),)), count()

    def ours(fast: bool) -> object:
        return tokenise(source, tokenizer, folder / str(next(numbers)), fast=fast)

    def theirs() -> object:
        encodings = tokenizer.backend.encode_batch_fast(documents, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    bench.note("megabytes", round(n_bytes / 1e6, 2))
    bench.note("documents", len(documents))
    bench.race("shards", lambda: ours(False), theirs, amount=n_bytes // 1000, unit="kB", least=1.0)
    if find_spec("gigatoken") is None:
        print("skipped: gigatoken is not installed")
        return
    bench.race("shards, gigatoken", lambda: ours(True), theirs, amount=n_bytes // 1000, unit="kB", least=1.0)


with Run("tokenise", rounds=3, peers=("tokenizers",)) as bench, TemporaryDirectory() as folder:
    compare(bench, Path(folder))
