"""Whole runs at the size of a toy, on Python's own documentation."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from stemma.data import Files
from stemma.families import family
from stemma.objectives import CausalLM
from stemma.text import Tokenizer
from stemma.training import AdamW, Constant, Evaluation, Network, NewTokenizer, Run, Saving

SMALL = dict(n_layers=1, d_model=16, n_heads=2)
STEPS = 30


@cache
def corpus() -> Path:
    """A file of paragraphs."""
    from pydoc_data.topics import topics

    folder = mkdtemp()
    atexit.register(rmtree, folder)
    path = Path(folder) / "topics.txt"
    path.write_text("\n\n".join(topics[name] for name in sorted(topics)[:25]), encoding="utf-8")
    return path


@cache
def vocabulary(of: str = "gpt2") -> str:
    """The folder of a tokenizer in the style of a family."""
    path = corpus().with_name(of)
    made: Tokenizer = NewTokenizer(size=420).learn([paragraphs()], family(of))
    made.save(path)
    return str(path)


def paragraphs(**changes: Any) -> Files:
    """The corpus as a source."""
    return Files(**dict(paths=(str(corpus()),), split="paragraph") | changes)


def tiny_run(folder: Path, **changes: Any) -> Run:
    """A run that learns something in a second."""
    usual: dict[str, Any] = dict(
        model=Network("gpt2", None, SMALL),
        objectives=[CausalLM()],
        corpus=paragraphs(),
        tokenizer=NewTokenizer(size=420),
        steps=STEPS,
        rows=4,
        length=32,
        log_every=1,
        optimiser=AdamW(lr=1e-2),
        schedule=Constant(),
        evaluation=Evaluation(every=10, batches=2),
        saving=Saving(every=10),
        folder=folder,
    )
    return Run(**usual | changes)
