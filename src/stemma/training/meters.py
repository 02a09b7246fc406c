"""How fast a run goes and how much of the machine it uses."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from functools import cache
from time import perf_counter

import torch

from stemma.objectives import Batch
from stemma.objectives.objective import PRODUCTS
from stemma.spec.architecture import Architecture
from stemma.spec.costs import training_flops
from stemma.spec.lineage import Shape
from stemma.training.distributed import Team
from stemma.training.plan import Precision
from stemma.training.state import Progress


def batch_flops(spec: Shape, batch: Batch) -> float | None:
    """Operations of a training step on a batch that the model itself asks for; None for a recurrent network.

    Real tokens alone count, and the vocabulary's scores where a target is asked for, however much is computed; see
    `stemma.spec.costs.training_flops` for the rest. What companions do does not count.

    Args:
        spec: the architecture.
        batch: as the network reads it.
    """
    if not isinstance(spec, Architecture):
        return None
    lengths = tuple(batch.inputs[name].shape[1] for name in ("tokens", "decoder_tokens") if name in batch.inputs)
    body = _body_flops(spec, lengths) / sum(lengths) * batch.n_tokens
    asked = sum(len(one) for term, one in batch.asked.items() if term.removesuffix("_taught") in PRODUCTS)
    return body + 6.0 * spec.vocab_size * spec.d_embedding * asked


@cache
def _body_flops(spec: Architecture, lengths: tuple[int, ...]) -> int:
    """Of one row, without heads."""
    bare = spec.change(heads=())
    return training_flops(bare, (lengths[0], lengths[-1]) if len(lengths) == 2 else lengths[0])


@cache
def peak_flops(device: torch.device, precision: Precision) -> float:
    """Operations a second of this machine's fastest large matrix product, measured once.

    Args:
        device: on which.
        precision: of the product.
    """
    side = 1024 if device.type == "cpu" else 8192
    left, right = (torch.ones(side, side, dtype=getattr(torch, precision), device=device) for _ in range(2))
    best = float("inf")
    for _ in range(4):
        wait_for(device)
        began = perf_counter()
        left @ right
        wait_for(device)
        best = min(best, perf_counter() - began)
    return 2.0 * side**3 / best


def wait_for(device: torch.device) -> None:
    """Until all that was asked of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes held so far: on a GPU those of tensors, else those of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Meter:
    """What a run did since it was last asked.

    Args:
        spec: the network's architecture.
        team: the processes that share the work.
        precision: of the products.
        progress: where the seconds of work are added up.
    """

    def __init__(self, spec: Shape, team: Team, precision: Precision, progress: Progress) -> None:
        self.spec, self.team, self.precision, self.progress = spec, team, precision, progress
        self._waited = 0.0
        self._mark = perf_counter()
        self._since = dict.fromkeys(("seconds", "steps", "tokens", "flops", "waited"), 0.0)

    def step(self, batches: tuple[tuple[Batch, ...], ...], tokens: float, waited: float) -> None:
        """A step is over.

        Args:
            batches: that this process read, of each lesson.
            tokens: real ones, of all processes.
            waited: seconds that this process has waited for rows in all.
        """
        now = perf_counter()
        flops = [batch_flops(self.spec, batch) for lesson in batches for batch in lesson]
        seconds = now - self._mark
        done = {"seconds": seconds, "steps": 1.0, "tokens": tokens, "waited": waited - self._waited}
        done["flops"] = sum(one or 0.0 for one in flops)
        self._since = {name: value + done[name] for name, value in self._since.items()}
        self.progress.seconds += seconds
        self._mark, self._waited = now, waited

    def skip(self) -> None:
        """What went on since the last step was none: evaluation, or saving."""
        self._mark = perf_counter()

    def read(self, steps_left: int) -> Mapping[str, float]:
        """Rates since the last reading: tokens a second, share of the peak, memory in bytes, seconds left."""
        since = self._since
        self._since = dict.fromkeys(since, 0.0)
        if not since["steps"]:
            return {}
        found = {
            "tokens_per_second": since["tokens"] / since["seconds"],
            "memory": float(peak_memory(self.team.device)),
            "seconds_left": steps_left * since["seconds"] / since["steps"],
            "waited": since["waited"] / since["seconds"],
        }
        if since["flops"]:
            share = 1 if self.team.mesh is None else self.team.mesh.size() // self.team.world
            achieved = since["flops"] / share / since["seconds"]
            found["utilisation"] = achieved / peak_flops(self.team.device, self.precision)
        return found
