"""Processors by their published figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Device:
    """One chip, board or share of a server.

    Args:
        name: in commands, whatever its case.
        peak: operations a second in dense matrix products, for each type of numbers that it multiplies; sums are
            float32. The fastest type stands first.
        memory: bytes.
        bandwidth: of that memory, in bytes a second.
        watts: drawn at full load.
        source: of these figures.
    """

    name: str
    peak: Mapping[str, float] = field(hash=False)
    memory: float
    bandwidth: float
    watts: float
    source: str


def _tensor_cores(half: float, single: float) -> Mapping[str, float]:
    return MappingProxyType({"bfloat16": half, "float16": half, "float32": single})


_GIBIBYTE = 2**30
_ALL = (
    Device(
        "V100",
        MappingProxyType({"float16": 125e12, "float32": 15.7e12}),
        *(32e9, 900e9, 300),
        "NVIDIA V100 SXM2 data sheet, 2020",
    ),
    Device("A100-40GB", _tensor_cores(312e12, 19.5e12), 40e9, 1555e9, 400, "NVIDIA A100 SXM data sheet, 2021"),
    Device("A100-80GB", _tensor_cores(312e12, 19.5e12), 80e9, 2039e9, 400, "NVIDIA A100 SXM data sheet, 2021"),
    Device("H100", _tensor_cores(989e12, 67e12), 80e9, 3350e9, 700, "NVIDIA H100 SXM data sheet, 2023"),
    Device("H200", _tensor_cores(989e12, 67e12), 141e9, 4800e9, 700, "NVIDIA H200 SXM data sheet, 2024"),
    Device(
        "RTX-4090",
        _tensor_cores(165.2e12, 82.6e12),
        *(24e9, 1008e9, 450),
        "NVIDIA Ada GPU architecture white paper, appendix A, 2022",
    ),
    Device(
        "TPU-v3",
        MappingProxyType({"bfloat16": 123e12}),
        *(32 * _GIBIBYTE, 900e9, 220),
        "Google Cloud, TPU v3 system architecture: a chip, mean measured power",
    ),
    Device(
        "TPU-v4",
        MappingProxyType({"bfloat16": 275e12}),
        *(32 * _GIBIBYTE, 1200e9, 170),
        "Google Cloud, TPU v4 system architecture: a chip, mean measured power",
    ),
    # Two units of 16 products and sums a cycle and core at 2.3 GHz; eight channels of DDR4-3200 and 270 W for 40 cores.
    Device(
        "CPU-2-cores",
        MappingProxyType({"float32": 2 * 2 * 16 * 2 * 2.3e9}),
        *(16e9, 204.8e9 * 2 / 40, 270 * 2 / 40),
        "Intel ARK, Xeon Platinum 8380 with AVX-512: the share of 2 of its 40 cores, with 16 GB",
    ),
)
DEVICES: Mapping[str, Device] = MappingProxyType({device.name: device for device in _ALL})
"""By name."""
