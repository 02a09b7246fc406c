"""Estimates against published runs, against the papers' formulas and against sums by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import inf, isfinite, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.errors import InputError
from stemma.families import BERT, GPT2, LLAMA, T5, catalogue
from stemma.spec import Architecture, Dropout, Gated, Learned, Parallel, PreNorm, SlidingWindow, costs, count
from stemma.spec.activations import activation_bytes
from stemma.spec.devices import DEVICES
from stemma.spec.estimate import Plan, estimate, footprint
from stemma.spec.parts import Experts

GPT3 = Architecture(
    n_layers=96,
    d_model=12_288,
    n_heads=96,
    vocab_size=50_257,
    position=Learned(2048),
    placement=PreNorm(),
    dropout=Dropout(residual=0.1, attention=0.1),
)
# Hours of one device, watts, PUE, g CO2eq/kWh; then MWh and t CO2eq as published.
RUNS = {
    "LLaMA 7B (Touvron et al. 2023, table 15)": (82_432, 400, 1.1, 385, 36, 14),
    "LLaMA 13B": (135_168, 400, 1.1, 385, 59, 23),
    "LLaMA 33B": (530_432, 400, 1.1, 385, 233, 90),
    "LLaMA 65B": (1_022_362, 400, 1.1, 385, 449, 173),
    "OPT-175B in the same table": (809_472, 400, 1.1, 385, 356, 137),
    "BLOOM-175B in the same table": (1_082_880, 400, 1.1, 385, 475, 183),
    "BLOOM 176B (Luccioni et al. 2023, table 2)": (1_082_990, 400, 1.0, 57, 433, 24.7),
    "GPT-3 (Patterson et al. 2021, table 4)": (10_000 * 14.8 * 24, 330, 1.1, 429, 1287, 552),
    "T5 (Patterson et al. 2021, table 4)": (512 * 20 * 24, 310, 1.12, 545, 85.7, 46.7),
}


@pytest.mark.parametrize(("hours", "watts", "pue", "carbon", "energy", "co2"), RUNS.values(), ids=RUNS)
def test_published_footprints(hours: float, watts: float, pue: float, carbon: float, energy: float, co2: float) -> None:
    """To 1%, or to the rounding of small figures."""
    found = footprint(hours, watts, pue, carbon)
    assert found.kilowatt_hours / 1000 == pytest.approx(energy, rel=0.01, abs=0.5)
    assert found.co2_kilograms / 1000 == pytest.approx(co2, rel=0.01, abs=0.5)


def test_the_operations_of_gpt3() -> None:
    """3.14e23 for 300B tokens (Brown et al. 2020, appendix D, which leaves the scores out)."""
    found = estimate(GPT3, Plan(tokens=300 * 10**9, length=2048))
    assert found.training.flops == pytest.approx(3.14e23, rel=0.05)


@pytest.mark.parametrize(
    ("size", "tokens", "hours"),
    [
        ("7B", 10**12, 82_432),
        ("13B", 10**12, 135_168),
        ("33B", 1400 * 10**9, 530_432),
        ("65B", 1400 * 10**9, 1_022_362),
    ],
)
def test_the_hours_of_llama(size: str, tokens: int, hours: int) -> None:
    """Published for A100-80GB (Touvron et al. 2023, table 15): about half of the peak."""
    found = estimate(LLAMA.build(size), Plan(tokens=tokens, length=2048, devices=2048, utilisation=0.5))
    assert found.training.device_hours == pytest.approx(hours, rel=0.1)
    assert found.training.days == pytest.approx(found.training.device_hours / 2048 / 24)
    assert found.training.footprint == footprint(found.training.device_hours, 400, 1.1, 385)


def test_activations_are_those_of_the_paper() -> None:
    """Equation 1, and table 2 with recomputed scores and blocks; section 4.3 for both ends, without parallelism."""
    s, h, a, layers = 2048, 12_288, 96, 96
    kept = activation_bytes(GPT3, s)
    ends = s * h + 4 * s * h + 4 * s * 50_257
    assert kept == {
        "all": layers * (34 * s * h + 5 * a * s * s) + ends,
        "all but scores": layers * 34 * s * h + ends,
        "block inputs": layers * 2 * s * h + ends,
    }


def test_each_choice_changes_the_activations_as_it_should() -> None:
    base = Architecture(n_layers=3, d_model=10, n_heads=4, n_kv_heads=2, d_head=6, d_ff=14, vocab_size=11)
    tokens = 5

    def more(**changes: Any) -> int:
        return activation_bytes(base.change(**changes), tokens)["all"] - activation_bytes(base, tokens)["all"]

    assert more(feedforward=Gated()) == tokens * 3 * 2 * 14 * 2
    assert more(placement=Parallel()) == -tokens * 3 * 2 * 2 * 10
    assert more(dropout=Dropout(feedforward=0.1)) == tokens * 3 * 3 * 14
    assert more(experts=Experts(4, 2)) == tokens * 3 * 2 * 2 * 14
    assert more(attention=SlidingWindow(2)) == -tokens * 3 * 4 * 2 * (tokens - 2)
    assert more(n_kv_heads=4, d_head=6, d_ff=14) == tokens * 3 * 2 * 2 * 2 * 6
    assert (
        activation_bytes(base, tokens, 4)["all but scores"]
        == 2 * (activation_bytes(base, tokens)["all but scores"] - 4 * 11 * tokens) + 4 * 11 * tokens
    )


@pytest.mark.parametrize(("device", "dtype", "parts"), [("H100", "", (2, 2, 12)), ("RTX-4090", "float32", (4, 4, 8))])
def test_states_take_sixteen_bytes_a_parameter(device: str, dtype: str, parts: tuple[int, int, int]) -> None:
    """Rajbhandari et al. 2020, section 3.1."""
    spec = GPT2.build("117M")
    plan = Plan(tokens=1, length=1024, device=device, dtype=dtype, devices=4, batch=3)
    found = estimate(spec, plan).training
    assert tuple(found.state.values()) == tuple(124_439_808 * part for part in parts)
    for kept, size in activation_bytes(spec, 1024, parts[0]).items():
        assert found.activations[kept] == 3 * size
        assert found.memory[kept] == 124_439_808 * 16 // 4 + 3 * size


def test_what_fits() -> None:
    """LLaMA 7B: its 16-bit weights fit into 24 GB, its training, 108 GB, into the largest device alone."""
    fits = {name: estimate(LLAMA.build("7B"), Plan(tokens=1, length=8, device=name)) for name in DEVICES}
    assert {name for name, found in fits.items() if found.training.fits["all"]} == {"H200"}
    assert {name for name, found in fits.items() if not found.inference.fits} == {"CPU-2-cores"}
    assert not estimate(LLAMA.build("13B"), Plan(tokens=1, length=2048, device="RTX-4090")).inference.fits


def test_writing_is_bound_by_bandwidth() -> None:
    """LLaMA 7B reads all weights but its table of tokens, and 1 GiB of cache, for each token (float16, 2048 tokens)."""
    spec, plan = LLAMA.build("7B"), Plan(tokens=1, length=2048, dtype="float16")
    weights = count.parameters(spec) - 32_000 * 4096 - 65 * 4096  # norms are no products
    found = estimate(spec, plan).inference
    assert found.cache == 2**30
    assert found.decode_tokens_per_second == pytest.approx(2039e9 / (2 * weights + 2**30))
    assert found.read_tokens_per_second == pytest.approx(2048 * 0.4 * 312e12 / costs.forward_flops(spec, 2048))
    many = estimate(spec, Plan(tokens=1, length=1, dtype="float16", batch=10_000)).inference
    assert many.decode_tokens_per_second == pytest.approx(312e12 / costs.forward_flops(spec, 1))


def test_only_the_chosen_experts_run() -> None:
    dense = LLAMA.build("7B").change(d_ff=2 * 11_008)
    mixture = LLAMA.build("7B").change(experts=Experts(8, 2))
    plan = Plan(tokens=10**9, length=2048)
    one, other = estimate(dense, plan), estimate(mixture, plan)
    router = 3 * 2 * 32 * 4096 * 8 * 10**9
    assert other.training.flops == one.training.flops + router
    assert other.active_parameters == one.parameters + 32 * 4096 * 8
    assert other.parameters > 3 * other.active_parameters
    assert any("experts of one token" in assumption for assumption in other.assumptions)


def test_an_encoder_writes_nothing() -> None:
    found = estimate(BERT.build("base"), Plan(tokens=1, length=512)).inference
    assert (found.cache, found.decode_tokens_per_second) == (0, None)


def test_two_stacks_split_the_tokens() -> None:
    spec = T5.build("small")
    found = estimate(spec, Plan(tokens=1024 * 7, length=512))
    assert found.training.flops == 7 * costs.training_flops(spec, (512, 512))
    assert "as many in the target" in found.assumptions[0]
    assert found.inference.cache == costs.cache_bytes(spec, (512, 512), "bfloat16")


def test_every_number_of_the_plan_is_among_the_assumptions() -> None:
    plan = Plan(tokens=1, length=123, device="tpu-v4", batch=45, utilisation=0.37, carbon=61, pue=1.23)
    words = " ".join(estimate(GPT2.build("117M"), plan).assumptions)
    for figure in (
        "123 tokens",
        "45 at once",
        "TPU-v4",
        "275 TFLOP/s",
        "0.37",
        "PUE 1.23",
        "61 g",
        "170 W",
        "1200 GB/s",
    ):
        assert figure in words
    assert DEVICES["TPU-v4"].source in words


@given(data=st.data(), device=st.sampled_from(list(DEVICES)))
def test_any_architecture_has_an_estimate(
    architectures: st.SearchStrategy[Architecture], data: st.DataObject, device: str
) -> None:
    plan = Plan(tokens=1000, length=1, device=device)
    record = asdict(estimate(data.draw(architectures), plan))
    kept = list(record["training"]["activations"].values())
    assert kept == sorted(kept, reverse=True)
    assert json.loads(json.dumps(record, allow_nan=False))["parameters"] == record["parameters"]
    assert isfinite(record["inference"]["read_tokens_per_second"])


def test_every_family_has_an_estimate() -> None:
    for family in (family for family in catalogue() if family.shape is Architecture):
        for size in family.sizes:
            found = estimate(family.build(size), Plan(tokens=10**9, length=8))
            assert found.training.flops > 0
            assert found.active_parameters <= found.parameters


def test_devices_are_plausible() -> None:
    for name, device in DEVICES.items():
        assert device.name == name
        assert list(device.peak.values()) == sorted(device.peak.values(), reverse=True)
        assert set(device.peak) <= {"bfloat16", "float16", "float32"}
        assert 0.001 < device.peak[next(iter(device.peak))] / device.watts / 1e12 < 2
        assert Plan(tokens=1, length=1, device=name.lower()).hardware is device


def test_a_plan_names_all_its_faults() -> None:
    with pytest.raises(InputError) as caught:
        Plan(tokens=0, length=True, devices=-1, batch=10**19, device="abacus", utilisation=nan, carbon=inf, pue=0.9)
    assert [fault.field for fault in caught.value.faults] == [
        *("tokens", "length", "devices", "batch", "device", "utilisation", "carbon", "pue")
    ]
    assert all(name in str(caught.value) for name in DEVICES)
    with pytest.raises(InputError, match="float16 or float32"):
        Plan(tokens=1, length=1, device="V100", dtype="bfloat16")
    with pytest.raises(InputError, match="use 1024 or fewer"):
        estimate(GPT2.build("117M"), Plan(tokens=1, length=1025))
