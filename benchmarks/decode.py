"""Quantised decoding of SmolLM2 and of random models of other families, beside llama.cpp, CTranslate2 and transformers.

Each side is a process of its own and times itself; they take turns. llama.cpp reads the file that the embedded model
comes in, and files of other types that it made of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from frame import ROOT, Run, Side

PROMPT, LONG, NEW, ROWS = 128, 512, 128, 8
TASKS = ("one", "eight", "read")
# Sizes of about a hundred million parameters.
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "gpt2": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=49152),
    "falcon": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=49152),
    "bloom": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=49152),
    "mixtral": dict(n_layers=6, d_model=512, n_heads=8, n_kv_heads=4, d_ff=1024, vocab_size=49152),
    "t5": dict(n_layers=6, d_model=512, n_heads=8, d_head=64, d_ff=2048, vocab_size=49152),
}


def converted(folder: Path) -> Path:
    """The folder as CTranslate2 has it."""
    made = folder.with_name(f"{folder.name}-ct2")
    program = Path(sys.executable).with_name("ct2-transformers-converter")
    call = [program, "--model", folder, "--output_dir", made, "--quantization", "int8"]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return made


def told(bench: Run, name: str, sides: Mapping[str, tuple[str, Path]], tasks: Path) -> tuple[dict[str, Any], float]:
    """The median rate of every side in every task."""
    with ExitStack() as open_sides:
        opened = {
            side: open_sides.enter_context(Side("decoding.py", program, str(model), str(tasks)))
            for side, (program, model) in sides.items()
        }
        answers, others = bench.turns({side: process.go for side, process in opened.items()})
    rates = {side: {task: median(one[task] for one in goes) for task in TASKS} for side, goes in answers.items()}
    for side, found in rates.items():
        bench.note(f"{name}, {side}", {task: round(rate, 1) for task, rate in found.items()})
    for side, goes in answers.items():
        rates[side]["ids"] = goes[0]["ids"]
    return rates, others


def judge(
    bench: Run, name: str, rates: Mapping[str, Any], owed: Iterable[tuple[str, str, str, float]], others: float
) -> None:
    """Hold our rates against what is owed: our side, the task, theirs, and the least ratio."""
    for ours, task, theirs, least in owed:
        pair = rates[ours][task], rates[theirs][task]
        bench.ratio(f"{name} {task}, {ours} against {theirs}", *pair, unit="tokens", least=least, others=others)


def smollm2(bench: Run, place: Path, tasks: Path) -> None:
    """The real model, against everything."""
    from sides.llama import requantised

    import stemma
    from stemma.checkpoints import locate

    file = locate("smollm2").path
    stemma.load(file, dtype="bfloat16").save(place / "smollm2")
    sides = {
        "int4": ("int4", file),
        "int8": ("int8", file),
        "llama.cpp Q4_1": ("llama.cpp", file),
        **{
            f"llama.cpp {kind}": ("llama.cpp", requantised(file, kind, place / f"{kind}.gguf"))
            for kind in ("Q4_0", "Q8_0")
        },
        "CTranslate2": ("CTranslate2", converted(place / "smollm2")),
        "transformers": ("transformers", place / "smollm2"),
    }
    rates, others = told(bench, "SmolLM2", sides, tasks)
    ours, theirs = rates["int4"]["ids"], rates["llama.cpp Q4_1"]["ids"]
    alike = next((place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]), len(ours))
    bench.note("SmolLM2, so many first ids are llama.cpp's", alike)
    share(bench, rates["int4"]["one"])
    peers = [side for side in sides if side.startswith("llama.cpp")]
    fastest = {task: max(peers, key=lambda side: rates[side][task]) for task in TASKS}
    owed = [
        ("int4", "one", "llama.cpp Q4_1", 3.0),
        ("int4", "one", "llama.cpp Q4_0", 2.0),
        ("int8", "one", "llama.cpp Q8_0", 2.0),
        ("int4", "eight", "llama.cpp Q4_1", 3.0),
        ("int4", "eight", fastest["eight"], 2.5),
        ("int4", "read", fastest["read"], 1.5),
        ("int4", "read", "transformers", 1.0),
        ("int4", "one", "transformers", 12.0),
        ("int8", "one", "CTranslate2", 1.0),
    ]
    judge(bench, "SmolLM2", rates, owed, others)


def share(bench: Run, rate: float) -> None:
    """How much of the memory's speed writing reaches."""
    import stemma
    from stemma.engine.measure import bytes_a_token, memory_speed

    lm, speed = stemma.load("smollm2", quantize="int4"), memory_speed()
    bench.note("memory, GB/s", round(speed / 1e9, 1))
    bench.note("SmolLM2 int4, share of the memory's speed", round(rate * bytes_a_token(lm) / speed, 3))


def beside_a_neighbour(bench: Run, place: Path, tasks: Path) -> None:
    """While another process has one core to itself, as far as the system lets it."""
    from stemma.checkpoints import locate

    file = locate("smollm2").path
    spin = f"import os; os.sched_setaffinity(0, [{max(os.sched_getaffinity(0))}])\nwhile True: pass"
    neighbour = subprocess.Popen([sys.executable, "-c", spin])
    try:
        sides = {"int4": ("int4", file), "llama.cpp Q4_1": ("llama.cpp", file)}
        sides["llama.cpp Q4_0"] = ("llama.cpp", place / "Q4_0.gguf")
        rates, others = told(bench, "SmolLM2 beside a neighbour", sides, tasks)
    finally:
        neighbour.kill()
        neighbour.wait()
    owed = [("int4", "one", peer, 1.0) for peer in sides if peer != "int4"]
    judge(bench, "SmolLM2 beside a neighbour,", rates, owed, others)


def looked_up(bench: Run, place: Path) -> None:
    """A summary, which repeats much of what it is of: guesses change nothing but the time."""
    import stemma
    from stemma.checkpoints import locate

    lm = stemma.load("smollm2")
    assert lm.tokenizer is not None
    passage = (ROOT / "LICENSE").read_text(encoding="utf-8")[1000:3500]
    asked = f"Summarise this text, and quote its most important sentences word by word:\n\n{passage}"
    ids = lm.tokenizer.encode_chat([{"role": "user", "content": asked}])
    tasks = place / "summary.json"
    tasks.write_text(json.dumps({"prompts": [ids], "long": ids[:LONG], "new": NEW}))
    file = locate("smollm2").path
    rates, others = told(bench, "a summary", {"int4, lookup": ("int4, lookup", file), "int4": ("int4", file)}, tasks)
    bench.note("a summary, the same ids", rates["int4, lookup"]["ids"] == rates["int4"]["ids"])
    judge(bench, "a summary,", rates, [("int4, lookup", "one", "int4", 1.5)], others)


def random_model(bench: Run, name: str, place: Path, tasks: Path) -> None:
    """A model without a meaning, against llama.cpp where a file can tell it, else against transformers."""
    import torch

    import stemma
    from stemma.checkpoints import Stored
    from stemma.checkpoints.gguf_write import write_gguf
    from stemma.families import family
    from stemma.nn import build
    from stemma.pretrained import Pretrained
    from stemma.text.gguf_entries import gguf_entries

    tokenizer = stemma.load("smollm2").tokenizer
    assert tokenizer is not None
    architecture = family(name).build(**FAMILIES[name])
    model = build(architecture, seed=0).to(torch.bfloat16).float()
    facts = {"decoder_start_token_id": 0} if architecture.kind == "encoder-decoder" else {}
    Pretrained(name, model, tokenizer, family(name), None, facts).save(place / name)
    sides = {"int4": ("int4", place / name), "int8": ("int8", place / name)}
    sides["transformers"] = ("transformers", place / name)
    if name == "gpt2":
        for kind in ("Q4_1", "Q4_0", "Q8_0"):
            file = place / f"{name}-{kind}.gguf"
            entries = {"general.name": name, **gguf_entries(tokenizer, architecture.vocab_size)}
            write_gguf(Stored(family(name), model), file, kind, entries=entries)
            sides[f"llama.cpp {kind}"] = ("llama.cpp", file)
    rates, others = told(bench, name, sides, tasks)
    owed = [("int4", "one", "transformers", 12.0), ("int4", "read", "transformers", 1.0)]
    if name == "gpt2":
        owed += [
            ("int4", "one", "llama.cpp Q4_1", 3.0),
            ("int4", "one", "llama.cpp Q4_0", 2.0),
            ("int8", "one", "llama.cpp Q8_0", 2.0),
            ("int4", "eight", "llama.cpp Q4_1", 3.0),
            ("int4", "eight", "llama.cpp Q4_0", 2.5),
        ]
    judge(bench, name, rates, owed, others)


def main() -> None:
    import stemma

    with TemporaryDirectory() as folder, Run("decode", 5, ("llama-cpp-python", "ctranslate2", "transformers")) as bench:
        place = Path(folder)
        tokenizer = stemma.load("smollm2").tokenizer
        assert tokenizer is not None
        ids = tokenizer.encode((ROOT / "LICENSE").read_text(encoding="utf-8"))
        starts = range(0, ROWS * 60, 60)
        tasks = {"prompts": [ids[start : start + PROMPT] for start in starts], "long": ids[:LONG], "new": NEW}
        (place / "tasks.json").write_text(json.dumps(tasks))
        smollm2(bench, place, place / "tasks.json")
        beside_a_neighbour(bench, place, place / "tasks.json")
        looked_up(bench, place)
        for name in FAMILIES:
            random_model(bench, name, place, place / "tasks.json")


if __name__ == "__main__":
    main()
