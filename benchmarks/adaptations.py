"""Every adaptation of MiniLM on SST-2, MRPC and WNUT-17 over seeds, beside transformers' Trainer; SmolLM2 with LoRA.

Accuracies and F1, not times: what is compared are means over seeds, on the same data with the same hyper-parameters.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from frame import ROOT, SHARED, commit, machine

DATA = SHARED / "data"
TRAINER = "transformers Trainer"
DECODERS = ("SmolLM2 with LoRA, classifier", "SmolLM2 with LoRA, text to label")
ROWS, LENGTH = 32, 128
# SmolLM2 reads ten times as many parameters a token: some sentences teach it.
N_SENTENCES = 3_000
# At the 2e-3 of the other sets one WNUT-17 run of three falls to no spans at all.
RATES = {("WNUT-17", "LoRA"): 1e-3}


def sides() -> Mapping[str, Any]:
    """Each adaptation and the rate that it learns at."""
    from stemma.adaptation import Adapters, Frozen, Full, LoRA, TopLayers

    every = ("query", "key", "value", "output", "up", "down")
    return {
        "feature extraction": (Frozen(), 1e-2, 5.0),
        "top-2 layers": (TopLayers(layers=2), 3e-4, 1.0),
        "full": (Full(), 2e-4, 1.0),
        "Houlsby": (Adapters(width=64), 1e-3, 2.0),
        "LoRA": (LoRA(rank=8, targets=every), 2e-3, 1.0),
    }


def tasks() -> Mapping[str, Any]:
    """Each data set: its task, what is learnt, what is tried, and how many times the epochs of the sides."""
    from stemma.data import Labelled
    from stemma.objectives.tasks import Classification, Tagging

    pairs = {"text": "#1 String", "second": "#2 String", "label": "Quality"}

    def of(name: str, **given: Any) -> Labelled:
        return Labelled(paths=(str(DATA / name),), **given)

    sst2 = {"fields": {"text": 0, "label": 1}}
    return {
        "SST-2": (Classification(), of("sst2/train.tsv", **sst2), of("sst2/dev.tsv", **sst2), 1.0),
        "MRPC": (
            Classification(pair=True, positive="1"),
            of("mrpc/msr-para-train.tsv", fields=pairs),
            of("mrpc/msr-para-val.tsv", fields=pairs),
            2.0,
        ),
        "WNUT-17": (Tagging(), of("wnut17/wnut17train.conll"), of("wnut17/emerging.dev.conll"), 3.0),
    }


def adapted(name: str, side: str, seed: int, place: Path) -> dict[str, Any]:
    """One run of ours."""
    from stemma.training import AdamW
    from stemma.tuning import Adapt

    task, learnt, tried, times = tasks()[name]
    adaptation, rate, epochs = sides()[side]
    rate = RATES.get((name, side), rate)
    kept = side == "feature extraction"
    result = Adapt(
        model="minilm", task=task, learnt=learnt, tried=tried, adaptations=(adaptation,), epochs=epochs * times,
        rows=ROWS, length=LENGTH, seed=seed, cache=place / "cache", folder=place / f"{name}-{side}-{seed}",
        precision="float32" if kept else "bfloat16", optimiser=AdamW(lr=rate, betas=(0.9, 0.999), weight_decay=0.0),
    ).train()  # fmt: skip
    return told(result, name)


def decoder(side: str, seed: int, place: Path) -> dict[str, Any]:
    """SmolLM2 with LoRA on SST-2, which tells a class at a sentence's last token or by the likelier of two words."""
    from stemma.adaptation import LoRA
    from stemma.objectives.tasks import Classification, TextToLabel
    from stemma.training import AdamW
    from stemma.tuning import Adapt

    _, learnt, tried, _ = tasks()["SST-2"]
    words = {"0": " negative", "1": " positive"}
    generator = TextToLabel(template="Review: {text}\nThe review is", words=words)
    result = Adapt(
        model="smollm2", task=generator if side == DECODERS[1] else Classification(),
        learnt=replace(learnt, first=N_SENTENCES), tried=tried, adaptations=(LoRA(rank=8),), epochs=1.0, rows=16,
        length=LENGTH, seed=seed, precision="bfloat16", folder=place / f"{side}-{seed}",
        optimiser=AdamW(lr=5e-4, betas=(0.9, 0.999), weight_decay=0.0),
    ).train()  # fmt: skip
    return told(result, "SST-2")


def told(result: Any, name: str) -> dict[str, Any]:
    """What the table says of a run."""
    lost = None if result.forgetting is None else result.forgetting.after - result.forgetting.before
    score = result.scores["tried"][measure(name)]
    return {"score": score, "share": result.trained / result.total, "forgotten": lost, "seconds": result.seconds}


def measure(name: str) -> str:
    """The figure of a data set."""
    return "accuracy" if name == "SST-2" else "f1"


def trainer(seed: int, place: Path) -> dict[str, Any]:
    """transformers' Trainer on SST-2: full tuning with the same data and hyper-parameters."""
    sys.path.insert(0, str(ROOT / "benchmarks" / "sides"))
    import numpy as np
    import transformers
    from datasets_of import Sentences

    import stemma

    base = place / "minilm"
    if not base.is_dir():
        stemma.load("minilm").save(base)
    transformers.set_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    _, rate, epochs = sides()["full"]
    arguments = transformers.TrainingArguments(
        str(place / f"trainer-{seed}"), num_train_epochs=epochs, per_device_train_batch_size=ROWS, learning_rate=rate,
        per_device_eval_batch_size=64, weight_decay=0.0, bf16=True, use_cpu=True, report_to=[], save_strategy="no",
        eval_strategy="epoch", logging_strategy="no", seed=seed, disable_tqdm=True,
    )  # fmt: skip
    parts = [Sentences(DATA / "sst2" / f"{part}.tsv", tokenizer, LENGTH) for part in ("train", "dev")]
    run = transformers.Trainer(
        model, arguments, transformers.DataCollatorWithPadding(tokenizer), *parts,
        compute_metrics=lambda told: {"accuracy": float(np.mean(told.predictions.argmax(-1) == told.label_ids))},
    )  # fmt: skip
    run.train()
    return {"score": run.evaluate()["eval_accuracy"], "share": 1.0, "forgotten": None, "seconds": None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--sets", default="SST-2,MRPC,WNUT-17")
    parser.add_argument("--place", type=Path, help="folder of the runs; one that stands is not repeated")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results.jsonl")
    options = parser.parse_args()
    place = options.place or Path(tempfile.mkdtemp())
    place.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    figures: dict[str, Any] = {}
    for name in options.sets.split(","):
        asked = [*sides(), *((TRAINER, *DECODERS) if name == "SST-2" else ())]
        for side in asked:
            runs = [once(name, side, seed, place) for seed in (seeds[:1] if side in DECODERS else seeds)]
            scores = [one["score"] for one in runs]
            lost = [one["forgotten"] for one in runs if one["forgotten"] is not None]
            figures[f"{name}, {side}"] = figure = {
                "measure": measure(name), "mean": mean(scores), "deviation": stdev(scores) if len(scores) > 1 else None,
                "scores": scores, "share": runs[0]["share"], "forgotten": mean(lost) if lost else None,
            }  # fmt: skip
            print(name, side, {k: v for k, v in figure.items() if k != "scores"}, scores, flush=True)
    line = {"benchmark": "adaptations", "commit": commit(), "machine": machine(), "figures": figures}
    with options.out.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(line) + "\n")


def once(name: str, side: str, seed: int, place: Path) -> dict[str, Any]:
    """A run, or what it told when it was run before."""
    kept = place / f"{name}, {side}, {seed}.json"
    if not kept.is_file():
        if side == TRAINER:
            figures = trainer(seed, place)
        else:
            figures = decoder(side, seed, place) if side in DECODERS else adapted(name, side, seed, place)
        kept.write_text(json.dumps(figures), encoding="utf-8")
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
