"""Tuning runs at the size of a toy: checkpoints of random networks, and texts of which one word tells the class."""

from __future__ import annotations

import atexit
import random
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from safetensors.torch import load_file

from stemma.checkpoints import Stored
from stemma.data import Files, Labelled, Texts
from stemma.families import family
from stemma.nn import build
from stemma.objectives.tasks import Classification
from stemma.spec import Dropout, Normal
from stemma.spec.recurrent_parts import RecurrentDropout, Words
from stemma.text import Tokenizer
from stemma.training import AdamW, Constant, Network, NewTokenizer, read_lines
from stemma.training.folders import write_model
from stemma.tuning import Adapt

SMALL: dict[str, Any] = dict(n_layers=2, d_model=16, n_heads=2, dropout=Dropout(), initialisation=Normal(0.2))
SIZES: dict[str, dict[str, Any]] = {
    "bert": SMALL,
    "gpt2": SMALL,
    "t5": SMALL,
    "ulmfit": dict(tokens=Words(0, 10), widths=(14, 10), dropout=RecurrentDropout()),
}
"""A family of each kind: encoder, decoder, both, recurrent."""

THINGS = ("film", "book", "song")
WORDS = {"good": ("fine", "lovely", "brilliant", "warm"), "bad": ("dull", "awful", "broken", "cold")}


@cache
def place() -> Path:
    """A folder for what all tests read; it goes when they end."""
    folder = mkdtemp()
    atexit.register(rmtree, folder)
    return Path(folder)


@cache
def old_text() -> Path:
    """A file of paragraphs."""
    from pydoc_data.topics import topics

    path = place() / "old.txt"
    path.write_text("\n\n".join(topics[name] for name in sorted(topics)[:12]), encoding="utf-8")
    return path


def old() -> Files:
    """The same as a source."""
    return Files(paths=(str(old_text()),), split="paragraph")


@cache
def reviews(part: str, n: int, seed: int) -> Path:
    """A file of texts, their classes and their marks."""
    draws, lines = random.Random(seed), []
    for _ in range(n):
        label = draws.choice(sorted(WORDS))
        number = draws.randrange(len(WORDS[label]))
        mark = number / 10 + (label == "good")
        lines.append(f"the {draws.choice(THINGS)} was {WORDS[label][number]}\t{label}\t{mark}")
    path = place() / f"{part}.tsv"
    path.write_text("text\tlabel\tnumber\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@cache
def vocabulary(name: str) -> Tokenizer:
    """One in the style of a family."""
    words = [f"the {thing} was {word}" for thing in THINGS for word in (*WORDS["good"], *WORDS["bad"])]
    return NewTokenizer(size=420).learn([old(), Texts(items=words)], family(name))


@cache
def checkpoint(name: str) -> str:
    """The folder of a small random network of a family, with its vocabulary."""
    path, tokenizer = place() / name, vocabulary(name)
    spec = Network(name, None, SIZES[name]).spec(len(tokenizer))
    write_model(Stored(family(name), build(spec, seed=1)), path, tokenizer.save)
    return str(path)


def labelled(part: str = "learnt", n: int = 48, **changes: Any) -> Labelled:
    """The texts of a part."""
    path = str(reviews(part, n, sum(map(ord, part))))
    return Labelled(**dict(paths=(path,)) | changes)


def tiny_adapt(folder: Path, model: str = "bert", **changes: Any) -> Adapt:
    """A run that learns something in a second."""
    usual: dict[str, Any] = dict(
        model=checkpoint(model) if model in SIZES else model,
        task=Classification(),
        learnt=labelled(),
        tried=labelled("tried", 24),
        old=old(),
        cache=place() / "cache",
        epochs=2.0,
        rows=8,
        length=24,
        log_every=1,
        optimiser=AdamW(lr=1e-2, weight_decay=0.0),
        schedule=Constant(),
        folder=folder,
    )
    return Adapt(**usual | changes)


def figures(folder: Path) -> list[dict[str, Any]]:
    """What a run told, but for what depends on the clock."""
    names = ("loss", "norm", "rate", "tokens", "held_out.accuracy")
    lines = [line for line in read_lines(folder / "run.jsonl") if "loss" in line or "held_out.accuracy" in line]
    return [{name: line[name] for name in ("step", *names) if name in line} for line in lines]


def tensors(folder: Path) -> dict[str, Any]:
    """All tensors below a folder, by their names and files, without checkpoints."""
    files = (file for file in sorted(folder.rglob("*.safetensors")) if "checkpoints" not in file.parts)
    return {f"{file.relative_to(folder)}:{name}": one for file in files for name, one in load_file(file).items()}
