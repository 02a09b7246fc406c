"""LoRA tuning of SmolLM2 on SST-2 against PEFT under transformers' Trainer: tokens that are no padding, and memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from frame import Run, Side

PROGRAM = "tuning.py"
PEER = "peft + Trainer"
LEAST = 1.5

with Run("tuning", rounds=3, peers=("transformers", "peft")) as bench, tempfile.TemporaryDirectory() as place:
    import stemma

    folder = Path(place) / "smollm2"
    stemma.load("smollm2").save(folder)
    with Side(PROGRAM, "ours") as ours, Side(PROGRAM, "peft", str(folder)) as theirs:
        sides = {"ours": ours, PEER: theirs}
        told = bench.contest("SmolLM2, LoRA, SST-2", sides, of="tokens", unit="tokens", least={PEER: LEAST})
    peaks = {side: max(answer["peak_mib"] for answer in answers) for side, answers in told.items()}
    bench.below("peak memory", peaks["ours"], peaks[PEER], "MiB")
