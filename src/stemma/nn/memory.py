"""What memory the machine has left."""

from __future__ import annotations

import os
from pathlib import Path

from torch import nn


def has_room(model: nn.Module) -> bool:
    """Whether a second copy of a model's weights leaves as much memory again.

    Args:
        model: whose parameters count.
    """
    return 2 * sum(part.numel() * part.element_size() for part in model.parameters()) < available_memory()


def available_memory() -> int:
    """Bytes that can be had without swapping; half of the memory where the system does not say."""
    report = Path("/proc/meminfo")
    if not report.is_file():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    lines = dict(line.split(":", 1) for line in report.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024
