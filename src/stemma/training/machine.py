"""What kind of machine a run is on: nothing that tells whose."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from stemma.spec.devices import DEVICES

# Extensions of a processor that its products are made with, as Linux names them.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")
# Of a GPU that is not in the table.
_USUAL_WATTS = 300.0


@dataclass(frozen=True)
class Machine:
    """One device of a run.

    Args:
        name: of the processor or the GPU.
        flags: of a processor's extensions, those that matter.
        units: threads of a processor, or one GPU.
        watts: that it is taken to draw.
    """

    name: str
    flags: tuple[str, ...]
    units: int
    watts: float

    @classmethod
    def of(cls, device: torch.device) -> Machine:
        """That on which this process computes.

        Args:
            device: of the network.
        """
        if device.type == "cuda":
            name = torch.cuda.get_device_name(device)
            return cls(name, (), 1, _watts(name))
        told, threads = _processor(), torch.get_num_threads()
        held = told.get("flags", told.get("Features", "")).split()
        flags = tuple(flag for flag in _FLAGS if flag in held)
        return cls(told.get("model name", platform.machine()), flags, threads, _WATTS_A_CORE * threads)


# The share of one core.
_WATTS_A_CORE = DEVICES["CPU-2-cores"].watts / 2


def _watts(name: str) -> float:
    """Of the GPU whose name in the table is part of this one."""
    known = (one for one in DEVICES.values() if one.name.partition("-")[0] in name.split())
    return next((one.watts for one in known), _USUAL_WATTS)


def _processor() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    report = Path("/proc/cpuinfo")
    if not report.is_file():
        return {}
    first = report.read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
