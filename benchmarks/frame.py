"""What all benchmarks share: runs that alternate, medians, what else the machine did, and one JSON line a run."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Self

THREADS = 2
# torch and the peers read these when they are imported, which every script does after this file.
os.environ |= {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS), "TOKENIZERS_PARALLELISM": "false"}
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"  # data that stands beside the repository on development machines
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


class Run:
    """One run of one benchmark: figures are added to it, and it appends them as one line when it ends.

    Args:
        name: of the benchmark.
        rounds: how often each side runs where `--rounds` says nothing else.
        peers: packages beside stemma and torch whose version belongs to the figures.
    """

    def __init__(self, name: str, rounds: int, peers: tuple[str, ...] = ()) -> None:
        parser = argparse.ArgumentParser(description=f"benchmark: {name}")
        parser.add_argument("--rounds", type=int, default=rounds, help="how often each side runs")
        parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results.jsonl", help="file to append to")
        options = parser.parse_args()
        self.rounds: int = options.rounds
        self.out: Path = options.out
        self.line: dict[str, Any] = {
            "benchmark": name,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in ("stemma-lm", "torch", *peers)},
            "machine": machine(),
            "rounds": self.rounds,
            "figures": {},
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        self.line["peak_mib"] = round(max(peaks) / 1024)
        with self.out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(self.line) + "\n")

    def race(
        self,
        name: str,
        ours: Callable[[], object],
        theirs: Callable[[], object],
        *,
        amount: int,
        unit: str,
        least: float | None = None,
    ) -> None:
        """Run both sides in turn, and keep how much of something each does in a second.

        Args:
            name: of the figure.
            ours: one run of ours.
            theirs: one run of the peer, which does the same work.
            amount: how much one run does.
            unit: of the amount.
            least: the ratio that we owe.
        """
        seconds, others = alternate({"ours": ours, "theirs": theirs}, self.rounds)
        self.ratio(name, *(amount / time for time in seconds.values()), unit=unit, least=least, others=others)

    def contest(
        self, name: str, sides: Mapping[str, Side], *, of: str, unit: str, least: Mapping[str, float]
    ) -> dict[str, list[dict[str, float]]]:
        """Run processes in turn, and keep how much of something each does in a second.

        Args:
            name: of the figure; each side's is "name, side".
            sides: the first is ours.
            of: what is counted, among what a side tells of a go.
            unit: of it.
            least: the ratio that we owe to a side.

        Returns:
            What each side told of its counted goes, with the rate of each as "rate".
        """

        def timed(side: str) -> dict[str, float]:
            start = perf_counter()
            answer = sides[side].go()
            return {**answer, "rate": answer[of] / (perf_counter() - start)}

        counted, others = self.turns({side: partial(timed, side) for side in sides})
        rates = {side: median(answer["rate"] for answer in answers) for side, answers in counted.items()}
        ours, *peers = sides
        for peer in peers:
            self.ratio(f"{name}, {peer}", rates[ours], rates[peer], unit=unit, least=least[peer], others=others)
        return counted

    def turns(
        self, sides: Mapping[str, Callable[[], dict[str, float]]]
    ) -> tuple[dict[str, list[dict[str, float]]], float]:
        """What each side tells of its counted goes, taken in turn, and the share of the processor that others took."""
        told: dict[str, list[dict[str, float]]] = {side: [] for side in sides}

        def went(side: str) -> None:
            told[side].append(sides[side]())

        _, others = alternate({side: partial(went, side) for side in sides}, self.rounds)
        return {side: answers[1:] for side, answers in told.items()}, others

    def ratio(self, name: str, ours: float, theirs: float, *, unit: str, least: float | None, others: float) -> None:
        """Keep how much each side does in a second.

        Args:
            name: of the figure.
            ours: our rate.
            theirs: the peer's.
            unit: of what is done.
            least: the ratio that we owe.
            others: the share of the processor that others took meanwhile.
        """
        found = ours / theirs
        figure = {"unit": f"{unit}/s", "ours": round(ours, 2), "theirs": round(theirs, 2), "ratio": round(found, 3)}
        shown = f"{ours:.1f} against {theirs:.1f} {unit}/s, {found:.2f}x"
        self._add(name, figure, shown, others, None if least is None else ("least", least, found >= least))

    def below(self, name: str, ours: float, theirs: float, unit: str) -> None:
        """Keep two amounts, of which ours is to be the smaller."""
        figure = {"unit": unit, "ours": round(ours, 1), "theirs": round(theirs, 1), "met": ours < theirs}
        self.line["figures"][name] = figure
        print(f"{name}: {ours:.0f} against {theirs:.0f} {unit} ({'met' if ours < theirs else 'MISSED'})", flush=True)

    def clock(self, commands: Mapping[str, tuple[list[str], float | None]]) -> None:
        """Run commands in turn, each in a fresh process, and keep the seconds from start to end.

        Args:
            commands: for each figure the command and the most seconds that it may take.
        """

        def process(command: list[str]) -> Callable[[], object]:
            return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        sides = {name: process(command) for name, (command, _) in commands.items()}
        seconds, others = alternate(sides, self.rounds)
        for name, (_, most) in commands.items():
            time = seconds[name]
            bar = None if most is None else ("most", most, time < most)
            self._add(name, {"unit": "s", "ours": round(time, 4)}, f"{time:.3f} s", others, bar)

    def note(self, name: str, value: float | bool) -> None:
        """Keep a figure that is no time."""
        self.line["figures"][name] = value
        print(f"{name}: {value}")

    def _add(
        self, name: str, figure: dict[str, Any], shown: str, others: float, bar: tuple[str, float, bool] | None
    ) -> None:
        figure["others_share"] = round(others, 3)
        verdict = ""
        if bar is not None:
            word, value, met = bar
            figure |= {word: value, "met": met}
            verdict = f" (at {word} {value:g}: {'met' if met else 'MISSED'})"
        self.line["figures"][name] = figure
        print(f"{name}: {shown}{verdict}; others took {others:.0%} of the processor", flush=True)


class Side:
    """A process that does one go of its work whenever it is told to; see `benchmarks/sides`.

    Args:
        program: of the folder.
        arguments: for it.
    """

    def __init__(self, program: str, *arguments: str) -> None:
        call = [sys.executable, str(ROOT / "benchmarks" / "sides" / program), *arguments]
        self._process = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        self._answer()  # it is ready
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def go(self) -> dict[str, float]:
        """What it tells of one go."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer


def alternate(sides: Mapping[str, Callable[[], object]], rounds: int) -> tuple[dict[str, float], float]:
    """The median seconds of each side, run in turn (A B A B), so that what disturbs one disturbs the other.

    Args:
        sides: what to run; each runs once more before, uncounted.
        rounds: how often each is counted.

    Returns:
        The medians, and the share of the processor that others took meanwhile.
    """
    for run in sides.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in sides}
    busy, total, own = _ticks()
    for _ in range(rounds):
        for name, run in sides.items():
            start = perf_counter()
            run()
            times[name].append(perf_counter() - start)
    busy_after, total_after, own_after = _ticks()
    others = (busy_after - busy) - (own_after - own)
    return {name: median(taken) for name, taken in times.items()}, max(0.0, others / max(total_after - total, 1e-9))


def _ticks() -> tuple[float, float, float]:
    """Seconds since the start: of all processors busy, of all processors at all, and of this process and its own."""
    cpu, *counts = Path("/proc/stat").read_text().splitlines()[0].split()
    assert cpu == "cpu"
    # user, nice, system, idle, iowait, irq, softirq, steal; the two for guests are counted in the first.
    ticks = [_seconds(count) for count in counts[:8]]
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    # Those that still run.
    for child in Path("/proc/self/task", str(os.getpid()), "children").read_text().split():
        user, system = Path("/proc", child, "stat").read_text().rpartition(")")[2].split()[11:13]
        own += _seconds(user) + _seconds(system)
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks), own


def _seconds(count: str) -> float:
    return int(count) / os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, Any]:
    """What the figures depend on; nothing that names the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return {
        "processor": facts.get("model name", platform.machine()),
        "flags": [flag for flag in FLAGS if flag in facts.get("flags", "").split()],
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": platform.system(),
        "threads": THREADS,
    }


def commit() -> str | None:
    call = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    ended = subprocess.run(call, capture_output=True, text=True)
    return ended.stdout.strip() or None
