"""A Ray cluster, joined or started."""

from __future__ import annotations

from typing import Any

from stemma.data.extras import need
from stemma.errors import Fault, InputError


def connect(address: str) -> Any:
    """Ray's module, once this process has joined a cluster.

    Args:
        address: of the cluster; "local" starts one here.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    ray = need("ray", "ray", "to use a cluster", "ray")
    if not ray.is_initialized():
        try:
            ray.init(address=address, logging_level="error", log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            fault = Fault("address", address, f"leads to no cluster: {error}", "start one, or use 'local'")
            raise InputError("ray", fault) from error
    return ray
