"""A Ray cluster, joined or started."""

from __future__ import annotations

from typing import Any

from stemma.data.extras import need
from stemma.errors import Fault, InputError


def connect(address: str) -> Any:
    """`ray.data`, once this process has joined a cluster; what it computes comes in order.

    Args:
        address: of the cluster; "local" starts one here.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    ray, data = (need(name, "ray", "to use a cluster", "ray") for name in ("ray", "ray.data"))
    if not ray.is_initialized():
        try:
            ray.init(address=address, logging_level="error", log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            fault = Fault("address", address, f"leads to no cluster: {error}", "start one, or use 'local'")
            raise InputError("ray", fault) from error
    context = data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    return data


def processors() -> int:
    """How many the cluster has that this process has joined."""
    found: int = int(need("ray", "ray", "to use a cluster", "ray").cluster_resources().get("CPU", 1))
    return max(1, found)
