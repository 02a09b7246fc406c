"""Sentence embeddings before and after they are learnt: STS-B in one table, and German from English by distillation."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from frame import SHARED, THREADS, Run

DATA = SHARED / "data"
STSB = {part: str(DATA / "stsb-multi-mt" / f"stsb-{part}.csv") for part in ("en-train", "en-dev", "en-test", "de-test")}
CAPTIONS = [str(DATA / "multi30k" / "raw" / f"train.{language}.gz") for language in ("en", "de")]
TATOEBA = [str(DATA / "tatoeba-laser" / f"tatoeba.deu-eng.{language}") for language in ("eng", "deu")]
N_CAPTIONS, N_PAIRS = 8_000, 1_500


def scored(embed: Any, part: str = "en-test") -> float:
    """Spearman's correlation of cosines with what people say."""
    from stemma.evaluation import similarity

    with open(STSB[part], encoding="utf-8", newline="") as lines:
        first, second, scores = zip(*csv.reader(lines), strict=True)
    return round(similarity(embed, first, second, [float(score) for score in scores])["spearman"], 4)


def runs(folder: Path) -> dict[str, Any]:
    """What is learnt, by the name of its line."""
    from stemma.adaptation import LoRA
    from stemma.data import Labelled
    from stemma.objectives.tasks.embedding import CosineRegression, CrossLingual
    from stemma.training import AdamW
    from stemma.tuning import Adapt

    def pairs(part: str, first: int | None = None) -> Labelled:
        return Labelled(paths=(STSB[part],), fields={"text": 0, "second": 1, "number": 2}, first=first)

    def sides(paths: list[str], first: int | None = None) -> Labelled:
        return Labelled(paths=(paths[0],), beside=(paths[1],), format="text", first=first)

    alike = Adapt(
        model="minilm",
        task=CosineRegression(high=5.0),
        learnt=pairs("en-train"),
        tried=pairs("en-dev"),
        tested=pairs("en-test"),
        epochs=2,
        length=64,
        old=None,
        folder=folder / "minilm",
    )
    return {
        "MiniLM, cosine regression": alike,
        "SmolLM2, LoRA, cosine regression": replace(
            alike,
            model="smollm2",
            learnt=pairs("en-train", N_PAIRS),
            tried=None,
            adaptations=(LoRA(rank=8),),
            optimiser=AdamW(lr=5e-4, weight_decay=0.0),
            epochs=1,
            folder=folder / "smollm2",
        ),
        "German": replace(
            alike,
            task=CrossLingual(teacher="minilm"),
            learnt=sides(CAPTIONS, N_CAPTIONS),
            tried=None,
            tested=sides(TATOEBA),
            optimiser=AdamW(lr=4e-4, weight_decay=0.0),
            rows=16,
            epochs=1,
            folder=folder / "german",
        ),
    }


def compare(bench: Run, folder: Path) -> None:
    """Every line of the table, the untrained ones first."""
    import torch

    import stemma
    from stemma.evaluation import translation
    from stemma.spec.pooling import Pooling

    torch.set_num_threads(THREADS)
    minilm, smollm2 = stemma.load("minilm"), stemma.load("smollm2")
    english, german = (Path(path).read_text(encoding="utf-8").splitlines() for path in TATOEBA)
    bench.note("STS-B Spearman, MiniLM as shipped", scored(minilm.embed))
    bench.note("STS-B Spearman, MiniLM [CLS]", scored(partial(minilm.embed, pooling=Pooling("cls"))))
    bench.note("STS-B Spearman, SmolLM2 mean", scored(smollm2.embed))
    before = sum(translation(minilm.embed, english, german)) / 2
    bench.note("Tatoeba German, MiniLM as shipped", round(before, 4))
    bench.note("STS-B German Spearman, MiniLM as shipped", scored(minilm.embed, "de-test"))
    del smollm2
    for name, run in runs(folder).items():
        result = run.train()
        bench.note(f"seconds, {name}", round(result.seconds))
        found = result.scores["tested"]
        if "spearman" in found:
            bench.note(f"STS-B Spearman, {name}", round(found["spearman"], 4))
            continue
        taught = stemma.load(result.output)
        bench.note("Tatoeba German, after distillation", round(found["matching"], 4))
        bench.note("Tatoeba German, rise", round(found["matching"] - before, 4))
        bench.note("STS-B German Spearman, after distillation", scored(taught.embed, "de-test"))
        bench.note("STS-B Spearman, after distillation", scored(taught.embed))


missing = [path for path in (*STSB.values(), *CAPTIONS, *TATOEBA) if not Path(path).is_file()]
if missing:
    print(f"skipped: no texts at {', '.join(missing)}")
    sys.exit()
with Run("sentence-embeddings", rounds=1) as bench, TemporaryDirectory() as folder:
    compare(bench, Path(folder))
