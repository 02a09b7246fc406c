"""Training against transformers, each side a process, in turn: GPT-2 124M, BERT-base on texts of varied length, 3M."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import mean, median

from frame import Run, Side

PROGRAM = "pretraining.py"
COMPILED, EAGER = "transformers compiled", "transformers eager"
LEAST = {"gpt2": {COMPILED: 1.1, EAGER: 1.5}, "bert": {COMPILED: 2.0, EAGER: 2.4}}
SMALL_AT_LEAST = 0.5  # of the large one's utilisation
WAITED_AT_MOST = 0.01


def against_transformers(bench: Run, family: str) -> None:
    """Tokens that are no padding a second, and the most memory."""
    names = {"ours": f"{family} ours", COMPILED: f"{family} compiled", EAGER: f"{family} eager"}
    with ExitStack() as stack:
        # One after the other: compiling takes all cores.
        sides = {side: stack.enter_context(Side(PROGRAM, name)) for side, name in names.items()}
        told = bench.contest(family, sides, of="tokens", unit="tokens", least=LEAST[family])
    peaks = {side: max(answer["peak_mib"] for answer in answers) for side, answers in told.items()}
    for peer in (COMPILED, EAGER):
        bench.below(f"{family}, peak memory, {peer}", peaks["ours"], peaks[peer], "MiB")
    bench.note(f"{family}, tokens a step", round(mean(answer["tokens"] for answer in told["ours"])))


def small_against_large(bench: Run) -> None:
    """How much of the machine a small network takes beside a large one, and how long it waits for rows."""
    with Side(PROGRAM, "gpt2 ours") as large, Side(PROGRAM, "small ours") as small:
        least = {"ours, 124M": SMALL_AT_LEAST}
        told = bench.contest("3M", {"ours, 3M": small, "ours, 124M": large}, of="flops", unit="FLOP", least=least)
    for side, answers in told.items():
        bench.note(f"{side}, utilisation", round(median(answer["utilisation"] for answer in answers), 3))
    waited = mean(answer["waited"] for answer in told["ours, 3M"])
    bench.note("3M, share of time that waits for rows", round(waited, 6))
    bench.note("3M, waits for rows less than 1%", waited < WAITED_AT_MOST)


with Run("pretrain", rounds=7, peers=("transformers",)) as bench:
    for family in LEAST:
        against_transformers(bench, family)
    small_against_large(bench)
