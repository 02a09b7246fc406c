"""How fast a loaded model reads and writes on this machine, beside what its memory allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from stemma.generation import Greedy, search

# Far more than any cache holds, read as eight-byte numbers.
_N_BYTES = 1 << 28
_ROUNDS = 3


@dataclass(frozen=True)
class Speed:
    """Of one setting.

    Args:
        reading: tokens a second of a prompt.
        writing: tokens a second after it, one at a time.
        weight_bytes: that are read for each token that is written.
        share: of the memory's speed that writing reaches.
    """

    reading: float
    writing: float
    weight_bytes: int
    share: float


def memory_speed() -> float:
    """Bytes a second that all threads together read from memory, the best of several times."""
    numbers = torch.ones(_N_BYTES // 8, dtype=torch.int64)
    return _N_BYTES / min(_seconds(numbers.sum) for _ in range(_ROUNDS + 2))


def measure(lm: Any, memory: float, n_prompt: int = 256, n_new: int = 64) -> Speed:
    """How fast a model that writes is here, by medians of three.

    Args:
        lm: what `stemma.load` gave.
        memory: from `memory_speed`.
        n_prompt: tokens of the prompt.
        n_new: tokens that are written, the first of them by the reading of the prompt.
    """
    vocabulary = lm.architecture.vocab_size
    prompt = torch.randint(vocabulary, (n_prompt,), generator=torch.Generator().manual_seed(0)).tolist()

    def write(n: int) -> Callable[[], Any]:
        return lambda: search(lm.stepper(), [prompt], Greedy(), max_new_tokens=n)

    write(2)()
    reading = median(_seconds(write(1)) for _ in range(_ROUNDS))
    both = median(_seconds(write(n_new)) for _ in range(_ROUNDS))
    writing = (n_new - 1) / max(both - reading, 1e-9)
    weight_bytes = bytes_a_token(lm)
    return Speed(n_prompt / reading, writing, weight_bytes, weight_bytes * writing / memory)


def bytes_a_token(lm: Any) -> int:
    """Those of the decoder's matrices, of which all but the experts that are not chosen are read for a token.

    Args:
        lm: what `stemma.load` gave.
    """
    kept = lm.quantised.matrices if lm.quantised is not None and lm.quantised.decoder is not None else {}
    chosen = lm.architecture.experts
    total = 0.0
    for name, parameter in lm.model.named_parameters():
        if parameter.ndim < 2 or name.startswith("encoder.") or _looked_up(lm, name):
            continue
        size = kept[name].n_bytes if name in kept else parameter.nbytes
        total += size * (chosen.n_active / chosen.n_experts if chosen and ".experts." in name else 1)
    return round(total)


def _looked_up(lm: Any, name: str) -> bool:
    """Whether only a row of a table is read for a token."""
    output = "heads.lm.weight" in dict(lm.model.named_parameters())
    return name.startswith("embeddings.") and (output or name != "embeddings.token.weight")


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
