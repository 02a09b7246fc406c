"""Frozen matrices in the precision of the products: half the memory, and no copy at each step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from stemma.adaptation.places import maps
from stemma.training import TrainPlan


def computing(plan: TrainPlan, device: torch.device) -> AbstractContextManager[Any]:
    """While this is entered, products are computed as in the plan's steps.

    Args:
        plan: of the run.
        device: on which the network lies.
    """
    return torch.autocast(device.type, torch.bfloat16) if plan.precision == "bfloat16" else nullcontext()


def hold_frozen(model: torch.nn.Module, plan: TrainPlan) -> None:
    """Hold the matrices that do not learn as the products of the plan read them; no product changes by it.

    Args:
        model: changed in place.
        plan: of the run.
    """
    if plan.precision != "bfloat16":
        return
    for linear in maps(model).values():
        if isinstance(linear.weight, torch.nn.Parameter) and not linear.weight.requires_grad:
            linear.weight.data = linear.weight.data.to(torch.bfloat16)
