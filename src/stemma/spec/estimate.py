"""What training and running an architecture takes, from stated assumptions: memory, operations, time, energy, CO2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

from stemma.errors import Fault, InputError
from stemma.spec.activations import activation_bytes
from stemma.spec.architecture import Architecture
from stemma.spec.costs import BYTES, Lengths, cache_bytes, forward_flops, training_flops, weight_bytes
from stemma.spec.count import active_parameters, parameters
from stemma.spec.devices import DEVICES, Device
from stemma.spec.parts import EncoderDecoder

_MOST = 10**18
_HOUR = 3600.0

# Bytes a parameter of weights, gradients and AdamW's states: two moments, and a float32 copy of 16-bit weights.
_STATES: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {"bfloat16": (2, 2, 12), "float16": (2, 2, 12), "float32": (4, 4, 8)}
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run on what.

    Args:
        tokens: trained on.
        length: tokens of a sequence; with two stacks of the source and of the target each.
        device: a name in `DEVICES`.
        devices: how many work together.
        batch: sequences that a device holds at once.
        dtype: of weights and products; the device's fastest where empty.
        utilisation: share of the peak that is reached.
        carbon: of the electricity, in grams of CO2 equivalent a kilowatt-hour.
        pue: power usage effectiveness: energy of the data centre over that of the devices.

    Raises:
        InputError: naming every value that cannot be.
    """

    tokens: int
    length: int
    device: str = "A100-80GB"
    devices: int = 1
    batch: int = 1
    dtype: str = ""
    utilisation: float = 0.4
    carbon: float = 385.0
    pue: float = 1.1

    def __post_init__(self) -> None:
        named = {name.lower(): name for name in DEVICES}
        object.__setattr__(self, "device", named.get(self.device.lower(), self.device))
        if self.device in DEVICES and not self.dtype:
            object.__setattr__(self, "dtype", next(iter(DEVICES[self.device].peak)))
        if faults := list(self._faults()):
            raise InputError("plan", faults)

    def _faults(self) -> Iterator[Fault]:
        for name in ("tokens", "length", "devices", "batch"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _MOST:
                yield Fault(name, value, "must be a whole number from 1 to 10**18", "count what is there")
        if self.device not in DEVICES:
            yield Fault("device", self.device, "is not in the table", f"use {', '.join(DEVICES)}")
        elif self.dtype not in (peak := DEVICES[self.device].peak):
            yield Fault("dtype", self.dtype, f"is no type that {self.device} multiplies", f"use {' or '.join(peak)}")
        if not 0 < self.utilisation <= 1:
            yield Fault("utilisation", self.utilisation, "must lie in (0, 1]", "large runs reach 0.3 to 0.55")
        if not 0 <= self.carbon < inf:
            yield Fault("carbon", self.carbon, "must be a finite number of at least 0", "give grams a kilowatt-hour")
        if not 1 <= self.pue < inf:
            yield Fault("pue", self.pue, "must be a finite number of at least 1", "good data centres have 1.1")

    @property
    def hardware(self) -> Device:
        """The device's figures."""
        return DEVICES[self.device]

    @property
    def speed(self) -> float:
        """Operations a second that all devices reach together."""
        return self.devices * self.hardware.peak[self.dtype] * self.utilisation


@dataclass(frozen=True)
class Footprint:
    """What a run takes from the grid.

    Args:
        kilowatt_hours: of energy.
        co2_kilograms: of CO2 equivalent.
    """

    kilowatt_hours: float
    co2_kilograms: float


def footprint(device_hours: float, watts: float, pue: float, carbon: float) -> Footprint:
    """Energy = hours * watts * PUE, and CO2 = energy * intensity (Touvron et al. 2023, section 6).

    Args:
        device_hours: hours of one device, summed over the devices.
        watts: of one device.
        pue: power usage effectiveness.
        carbon: grams of CO2 equivalent a kilowatt-hour.

    >>> llama = footprint(1_022_362, 400, 1.1, 385)  # published for 65B: 449 MWh, 173 t
    >>> round(llama.kilowatt_hours / 1000), round(llama.co2_kilograms / 1000)
    (450, 173)
    """
    energy = device_hours * watts * pue / 1000
    return Footprint(energy, energy * carbon / 1000)


@dataclass(frozen=True)
class Training:
    """A run over the plan's tokens.

    Args:
        flops: operations in all.
        device_hours: hours of one device, summed over the devices.
        days: from beginning to end.
        footprint: energy and CO2.
        state: bytes of weights, gradients and optimiser, over all devices.
        activations: bytes a device keeps for the way back, by what it keeps.
        memory: bytes a device needs, by the same.
        fits: whether the device has as much, by the same.
    """

    flops: int
    device_hours: float
    days: float
    footprint: Footprint
    state: Mapping[str, int]
    activations: Mapping[str, int]
    memory: Mapping[str, int]
    fits: Mapping[str, bool]


@dataclass(frozen=True)
class Inference:
    """Reading sequences of the plan's length, and adding a token to them.

    Args:
        weights: bytes over all devices.
        cache: bytes of keys and values of all sequences that are held.
        memory: bytes a device needs.
        fits: whether it has as much.
        flops: operations of reading one sequence.
        read_tokens_per_second: tokens of such sequences that all devices read.
        decode_tokens_per_second: tokens added in each second to full sequences; None where nothing is added.
    """

    weights: int
    cache: int
    memory: int
    fits: bool
    flops: int
    read_tokens_per_second: float
    decode_tokens_per_second: float | None


@dataclass(frozen=True)
class Estimate:
    """What a plan takes.

    Args:
        parameters: of the architecture.
        active_parameters: that one token meets.
        training: a run over the plan's tokens.
        inference: reading and adding tokens.
        assumptions: all that the figures rest on, in words.
    """

    parameters: int
    active_parameters: int
    training: Training
    inference: Inference
    assumptions: tuple[str, ...]


def estimate(architecture: Architecture, plan: Plan) -> Estimate:
    """What a plan takes for an architecture.

    Raises:
        InputError: where the sequences are longer than the architecture's table of positions.
    """
    rows = getattr(architecture.position, "max_positions", plan.length)
    if plan.length > rows:
        rule = f"must not exceed the {rows} positions of the architecture"
        raise InputError("plan", Fault("length", plan.length, rule, f"use {rows} or fewer"))
    return Estimate(
        parameters(architecture),
        active_parameters(architecture),
        _training(architecture, plan),
        _inference(architecture, plan),
        tuple(_assumptions(architecture, plan)),
    )


def _training(architecture: Architecture, plan: Plan) -> Training:
    lengths, tokens = _sequence(architecture, plan.length)
    flops = plan.tokens * training_flops(architecture, lengths) // tokens
    hours = flops / plan.speed / _HOUR
    state = {
        part: parameters(architecture) * size
        for part, size in zip(("weights", "gradients", "optimiser"), _STATES[plan.dtype], strict=True)
    }
    kept = {
        name: plan.batch * size for name, size in activation_bytes(architecture, plan.length, BYTES[plan.dtype]).items()
    }
    memory = {name: sum(state.values()) // plan.devices + size for name, size in kept.items()}
    return Training(
        flops,
        hours * plan.devices,
        hours / 24,
        footprint(hours * plan.devices, plan.hardware.watts, plan.pue, plan.carbon),
        state,
        kept,
        memory,
        {name: size <= plan.hardware.memory for name, size in memory.items()},
    )


def _inference(architecture: Architecture, plan: Plan) -> Inference:
    lengths, tokens = _sequence(architecture, plan.length)
    weights = weight_bytes(architecture, plan.dtype)
    cache = plan.batch * plan.devices * cache_bytes(architecture, lengths, plan.dtype)
    memory = (weights + cache) // plan.devices
    flops = forward_flops(architecture, lengths)
    return Inference(
        weights,
        cache,
        memory,
        memory <= plan.hardware.memory,
        flops,
        tokens * plan.speed / flops,
        _decoding(architecture, plan, cache) if architecture.n_decoder_layers else None,
    )


def _decoding(architecture: Architecture, plan: Plan, cache: int) -> float:
    """Steps are bound by what they read or by what they compute, whichever takes longer."""
    pair, device, sequences = isinstance(architecture.stacks, EncoderDecoder), plan.hardware, plan.batch * plan.devices

    def step(keys: int) -> int:
        """Operations of one token that sees so many keys and no source."""
        return forward_flops(architecture, (0, 1) if pair else 1, context=(0, keys) if pair else keys)

    # Of a step's operations those on weights do not grow with the keys: two for each weight.
    read = (2 * step(1) - step(2)) // 2 * BYTES[plan.dtype] + cache
    return sequences / max(
        read / (plan.devices * device.bandwidth),
        sequences * step(plan.length) / (plan.devices * device.peak[plan.dtype]),
    )


def _sequence(architecture: Architecture, length: int) -> tuple[Lengths, int]:
    """The lengths of one sequence, and its tokens."""
    return ((length, length), 2 * length) if isinstance(architecture.stacks, EncoderDecoder) else (length, length)


def _assumptions(architecture: Architecture, plan: Plan) -> Iterator[str]:
    device, (weights, gradients, states) = plan.hardware, _STATES[plan.dtype]
    pair = isinstance(architecture.stacks, EncoderDecoder)
    peak, memory, bandwidth = device.peak[plan.dtype] / 1e12, device.memory / 1e9, device.bandwidth / 1e9
    both = " in the source and as many in the target" if pair else ""
    yield f"sequences have {plan.length:,} tokens{both}; each device holds {plan.batch:,} at once"
    yield "operations: matrix products and scores, backwards twice forwards (Hoffmann et al. 2022, appendix F)"
    yield f"{device.name}: {peak:.4g} TFLOP/s dense in {plan.dtype}, {memory:.3g} GB at {bandwidth:.4g} GB/s"
    yield f"source of these figures: {device.source}"
    yield f"a share of {plan.utilisation:g} of that peak is reached in training and in reading"
    yield f"each device draws {device.watts:g} W throughout; PUE {plan.pue:g}; {plan.carbon:g} g CO2eq/kWh"
    yield f"AdamW: {weights} + {gradients} + {states} bytes a parameter, spread evenly (Rajbhandari et al. 2020, 3.1)"
    yield "activations: Korthikanti et al. 2022, equation 1 and table 2, with the architecture's own widths"
    if architecture.vision is not None:
        yield "images do not count"
    if architecture.modules is not None:
        yield "task modules do not count among the activations"
    if architecture.n_decoder_layers:
        chosen = "" if architecture.experts is None else " (of each mixture the experts of one token)"
        yield f"a step of writing reads its weights{chosen} and the whole cache once, at full bandwidth"
