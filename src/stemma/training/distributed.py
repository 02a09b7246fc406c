"""Several processes as one: who reads which rows, what they add up, and how parameters are spread over them."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.utils import get_total_norm
from torch.utils.checkpoint import checkpoint

from stemma.errors import Fault, InputError, RunError
from stemma.nn import Model
from stemma.nn.blocks import Block
from stemma.nn.experts import Mixture
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Alibi, RelativeBuckets, RelativeSinusoidal
from stemma.training.optimisers import Muon
from stemma.training.plan import TrainPlan

Key = TypeVar("Key", bound=Hashable)

# How the matrices of a block are cut, by their roles: what follows one cut by rows is cut by columns, so that a
# sub-layer talks once (Shoeybi et al. 2019, section 3).
_CUTS = {"query": "rows", "key": "rows", "value": "rows", "output": "columns", "gate": "rows", "up": "rows"} | {
    "down": "columns"
}


@dataclass(frozen=True)
class Team:
    """The processes of a run, seen from one of them; alone where nothing is said.

    Args:
        rank: of this process among those that read different rows.
        world: how many those are.
        leads: whether this process writes what all of them share.
        device: on which it computes.
        mesh: all processes, ("rows", "matrices"); None where there is one alone.
    """

    rank: int = 0
    world: int = 1
    leads: bool = True
    device: torch.device = torch.device("cpu")
    mesh: DeviceMesh | None = None

    def sum(self, values: Mapping[Key, float]) -> dict[Key, float]:
        """What was found on the rows of each process, added up."""
        if self.mesh is None:
            return dict(values)
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, dict(values), group=self.mesh["rows"].get_group())
        total: dict[Key, float] = defaultdict(float)
        for part in found:
            for key, value in part.items():
                total[key] += value
        return dict(total)

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        if self.mesh is None:
            return flag
        found: list[bool] = [False] * dist.get_world_size()
        dist.all_gather_object(found, flag)
        return any(found)

    def share(self, value: Any = None) -> Any:
        """What the leading process says."""
        if self.mesh is None:
            return value
        said = [value]
        dist.broadcast_object_list(said, src=0)
        return said[0]

    def wait(self) -> None:
        """Until all are here."""
        self.any(False)

    def check(self, plan: TrainPlan) -> None:
        """Refuse a plan whose rows cannot be dealt out evenly.

        Raises:
            InputError: naming what does not fit.
        """
        parts = plan.micro_batches * self.world
        faults = []
        if plan.rows % parts:
            rule = f"must be a multiple of micro_batches={plan.micro_batches} times {self.world} processes"
            faults.append(Fault("rows", plan.rows, rule, "give each process as many"))
        if self.mesh is not None and isinstance(plan.optimiser, Muon):
            rule = "needs whole matrices, which several processes do not hold"
            faults.append(Fault("optimiser", "Muon", rule, "use AdamW, or one process"))
        if faults:
            raise InputError("plan", faults)


@contextmanager
def assemble(plan: TrainPlan, device: str | None = None) -> Iterator[Team]:
    """The processes that `torchrun` started, or this one alone.

    Args:
        plan: says how many share the matrices of a block.
        device: "cpu" or "cuda"; a GPU where there is one, if not given.

    Raises:
        InputError: where the plan does not fit so many processes.
        RunError: where another process of the run has ended.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        alone = Team(device=torch.device(kind))
        if plan.tensor_parallel > 1:
            raise InputError("plan", _uneven(plan, processes))
        alone.check(plan)
        yield alone
        return
    place = torch.device(kind, int(os.environ["LOCAL_RANK"])) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo")
    try:
        if processes % plan.tensor_parallel:
            raise InputError("plan", _uneven(plan, processes))
        shape = (processes // plan.tensor_parallel, plan.tensor_parallel)
        mesh = init_device_mesh(kind, shape, mesh_dim_names=("rows", "matrices"))
        mesh._flatten()  # so that a norm over both is one message
        team = Team(mesh["rows"].get_local_rank(), shape[0], dist.get_rank() == 0, place, mesh)
        team.check(plan)
        yield team
    except (dist.DistError, RuntimeError) as error:
        if not isinstance(error, dist.DistError) and not _of_the_network(error):
            raise
        # torchrun ends the others as soon as one is lost; first they say why.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        rule = f"lost another one of its run: {str(error).splitlines()[0]}"
        rank = dist.get_rank()
        raise RunError("run", Fault("process", rank, rule, "start it again with --resume")) from error
    finally:
        dist.destroy_process_group()


def place(learner: nn.Module, plan: TrainPlan, team: Team) -> None:
    """Put what learns where it computes, and as the plan says: recomputing, spread, compiled.

    Raises:
        InputError: where the network's matrices cannot be shared so.
    """
    learner.to(team.device)
    blocks = [module for module in learner.modules() if isinstance(module, Block)]
    if plan.recompute:
        for block in blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
    if team.mesh is not None:
        if plan.tensor_parallel > 1:
            _share_matrices(learner, team.mesh["matrices"])
        for block in blocks:
            for part in _units(block):
                fully_shard(part, mesh=team.mesh["rows"])
        # Not kept whole between passes, so that what stands in a parameter's place (the average) is seen.
        fully_shard(learner, mesh=team.mesh["rows"], reshard_after_forward=True)
    if plan.compile:
        # Spread parameters are gathered around a block's call, which no compiled graph spans.
        whole = [module for module in learner.modules() if isinstance(module, Model)]
        for module in whole if team.mesh is None else blocks:
            module.compile()


def gradient_norm(parameters: Iterable[Tensor]) -> float:
    """The norm of all gradients together, spread or whole."""
    norms = [get_total_norm(gradients) for gradients in _by_mesh(parameters)]
    whole = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    return float(torch.linalg.vector_norm(torch.stack(whole))) if whole else 0.0


@torch.no_grad()
def clip(parameters: Iterable[Tensor], norm: float, largest: float | None) -> None:
    """Shrink all gradients alike where their norm is too large (Pascanu et al. 2013, algorithm 1)."""
    if largest is not None and norm > largest:
        for gradients in _by_mesh(parameters):
            torch._foreach_mul_(gradients, largest / norm)


def _by_mesh(parameters: Iterable[Tensor]) -> list[list[Tensor]]:
    """Gradients that lie on the same processes, which one kernel can take together."""
    found: dict[Any, list[Tensor]] = defaultdict(list)
    for parameter in parameters:
        if (gradient := parameter.grad) is not None:
            found[gradient.device_mesh if isinstance(gradient, DTensor) else None].append(gradient)
    return list(found.values())


def _units(block: Block) -> list[nn.Module]:
    """What is gathered together: a block, where all of it is used in its own call and gives its result.

    The keys of cross attention are made before; and of the list that experts put their routing in, FSDP hands on a
    copy. Both are gathered with what stands outside blocks.
    """
    mixture = isinstance(block.feedforward, Mixture)
    if not mixture and not hasattr(block, "cross_attention"):
        return [block]
    return [block.attention] if mixture else [block.attention, block.feedforward]


def _share_matrices(learner: nn.Module, mesh: DeviceMesh) -> None:
    size = mesh.size()
    styles = {"rows": ColwiseParallel, "columns": RowwiseParallel}
    for model in (module for module in learner.modules() if isinstance(module, Model)):
        if faults := list(_unshareable(model.architecture, size)):
            raise InputError("plan", faults)
        for block in (module for module in model.modules() if isinstance(module, Block)):
            found = (name for name, part in block.named_modules() if isinstance(part, nn.Linear))
            cuts = {name: styles[_CUTS[role]]() for name in found if (role := name.rpartition(".")[2]) in _CUTS}
            parallelize_module(block, mesh, cuts)


def _unshareable(spec: Architecture, size: int) -> Iterator[Fault]:
    remedy = "use tensor_parallel=1"
    for name in ("n_heads", "n_kv_heads", "d_ff"):
        if (value := getattr(spec, name)) % size:
            yield Fault(name, value, f"must be a multiple of tensor_parallel={size}", remedy)
    if isinstance(spec.position, Alibi | RelativeBuckets | RelativeSinusoidal):
        kind = type(spec.position).__name__
        yield Fault("position", kind, "has numbers for every head, which stay together", remedy)


def _uneven(plan: TrainPlan, processes: int) -> Fault:
    rule = f"must divide the number of processes, {processes}"
    return Fault("tensor_parallel", plan.tensor_parallel, rule, "start it with torchrun --nproc-per-node")


def _of_the_network(error: Exception) -> bool:
    """Whether a plain error is that of a connection; gloo raises no class of its own."""
    return any(word in str(error) for word in ("Connection closed", "Connection reset", "gloo", "Broken pipe"))
