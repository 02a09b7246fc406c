"""`stemma diff`, `stemma card` and `stemma estimate` over the families as data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from stemma.cli.main import run
from stemma.families import catalogue
from stemma.spec.devices import DEVICES
from stemma.spec.estimate import footprint

ESTIMATE = ("estimate", "gpt2:117M", "--tokens", "1e9")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command line that must succeed; gives what it printed."""

    def called(*arguments: str) -> str:
        assert run(arguments) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return called


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command line that must fail; gives its one error."""

    def refused(*arguments: str) -> str:
        assert run(arguments) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("error: ") == 1
        return printed.err

    return refused


def changes(printed: str) -> dict[str, tuple[Any, Any]]:
    return {change["field"]: (change["a"], change["b"]) for change in json.loads(printed)["changes"]}


def test_a_diff_holds_facts_fields_and_sizes(call: Callable[..., str]) -> None:
    found = changes(call("diff", "t5", "t5-v1.1", "--json"))
    assert found["year"] == (2019, 2020)
    assert found["feedforward"] == ("Plain", "Gated")
    assert found["sizes"] == (["3B", "11B"], ["xl", "xxl"])
    assert found["sizes.large"] == ({"d_ff": 4096}, {"d_ff": 2816})
    assert not {"organisation", "norm", "norm.eps", "kind"} & set(found)


def test_any_two_families_differ_in_what_is_listed_alone(call: Callable[..., str]) -> None:
    names = [family.name for family in catalogue()]
    for a, b in product(names[:: max(1, len(names) // 5)], repeat=2):
        found = changes(call("diff", a, b, "--json"))
        assert (found == {}) == (a == b)
        assert all(left != right for left, right in found.values())


def test_a_diff_of_two_sizes_compares_what_is_built(call: Callable[..., str]) -> None:
    assert changes(call("diff", "gpt2:117M", "gpt2:345M", "--json")) == {
        "n_layers": (12, 24),
        "d_model": (768, 1024),
        "n_heads": (12, 16),
        "n_kv_heads": (12, 16),
        "d_ff": (3072, 4096),
    }
    found = changes(call("diff", "llama:7B", "llama2:7B", "--json"))
    assert found["context"] == (2048, 4096)
    assert found["norm.eps"] == (1e-6, 1e-5)
    assert not {"year", "n_layers", "sizes"} & set(found)


def test_a_diff_is_drawn_with_a_part_s_fields_behind_its_name(call: Callable[..., str]) -> None:
    lines = [line.split() for line in call("diff", "bert", "gpt2").splitlines()]
    assert ["placement", "PostNorm", "PreNorm"] in lines
    assert any(line[:2] == ["heads.mlm", "MaskedLMHead(activation=gelu,"] for line in lines)
    assert ["heads.mlm.activation", "gelu"] not in lines
    assert any(line[:2] == ["sizes", "base,"] for line in lines)
    assert call("diff", "bert", "bert") == "bert and bert do not differ\n"


def test_a_card_is_the_contract(call: Callable[..., str]) -> None:
    record = json.loads(call("card", "llama2:7B", "--json"))
    assert list(record) == [
        *("family", "lineage", "year", "organisation", "paper", "kind", "objective", "tokenizer", "data", "context"),
        *("length", "dtype", "sizes"),
    ]
    assert list(record["sizes"]) == ["7B"]
    assert list(record["sizes"]["7B"]) == [
        *("parameters", "parameters_by_part", "weight_bytes"),
        *("forward_flops_per_token", "training_flops_per_token", "cache_bytes_per_token"),
    ]
    assert record["lineage"][0] == "llama"
    assert json.loads(call("card", "llama2", "--dtype", "float32", "--json"))["dtype"] == "float32"


@pytest.mark.parametrize("family", catalogue(), ids=lambda family: family.name)
def test_every_family_has_a_card(family: Any, call: Callable[..., str]) -> None:
    printed = call("card", family.name)
    assert f"{next(iter(json.loads(call('card', family.name, '--json'))['sizes'].values()))['parameters']:,}" in printed
    assert family.organisation[:30] in printed
    assert str(family.context or "not published") in printed


def test_an_estimate_is_the_contract(call: Callable[..., str]) -> None:
    record = json.loads(call(*ESTIMATE, "--devices", "8", "--carbon", "50", "--json"))
    assert list(record) == [
        *("model", "plan", "parameters", "active_parameters", "training", "inference", "assumptions")
    ]
    assert record["plan"] == {
        "tokens": 10**9,
        "length": 1024,
        "device": "A100-80GB",
        "devices": 8,
        "batch": 1,
        "dtype": "bfloat16",
        "utilisation": 0.4,
        "carbon": 50.0,
        "pue": 1.1,
    }
    training = record["training"]
    assert list(training) == [*("flops", "device_hours", "days", "footprint", "state", "activations", "memory", "fits")]
    assert training["footprint"] == vars(footprint(training["device_hours"], 400, 1.1, 50))
    assert list(record["inference"]) == [
        *("weights", "cache", "memory", "fits", "flops", "read_tokens_per_second", "decode_tokens_per_second")
    ]
    assert record["assumptions"]


def test_every_family_has_an_estimate_at_its_own_length(call: Callable[..., str]) -> None:
    for family in (family for family in catalogue() if family.kind != "recurrent"):
        record = json.loads(call("estimate", f"{family.name}:{next(iter(family.sizes))}", "--tokens", "1e9", "--json"))
        assert record["plan"]["length"] == (family.context or 512)
        assert record["training"]["flops"] > 0


def test_an_estimate_is_drawn_with_its_assumptions(call: Callable[..., str]) -> None:
    printed = call(*ESTIMATE)
    record = json.loads(call(*ESTIMATE, "--json"))
    assert all(f"- {assumption}\n" in printed for assumption in record["assumptions"])
    assert "124,439,808" in printed
    assert f"{record['training']['flops']:.3g} FLOP" in printed
    assert "writing" in printed
    assert "writing" not in call("estimate", "bert:base", "--tokens", "1").split("Assumed")[0]


@pytest.mark.parametrize("device", DEVICES)
def test_each_device_has_a_default_type(device: str, call: Callable[..., str]) -> None:
    record = json.loads(call(*ESTIMATE, "--device", device.upper(), "--json"))
    assert record["plan"]["dtype"] == next(iter(DEVICES[device].peak))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("diff", "bert:huge", "gtp2"), ("A='bert:huge'", "base, large", "B='gtp2'", "use one of")),
        (("diff", "bert", "gpt2:117M"), ("B='gpt2:117M'", "A='bert'")),
        (("diff", "bert:", "bert"), ("A='bert:'",)),
        (("card", "bart-simpson"), ("FAMILY='bart-simpson'", "gpt2")),
        (("card", "gpt2:2B"), ("117M, 345M, 762M, 1542M",)),
        (("card", "gpt2", "--dtype", "int8"), ("--dtype", "bfloat16")),
        (("estimate", "gpt2:117M"), ("--tokens",)),
        (("estimate", "gpt2", "--tokens", "1"), ("FAMILY:SIZE='gpt2'", "gpt2:117M or gpt2:345M")),
        ((*ESTIMATE, "--length", "4096"), ("--length=4096", "use 1024 or fewer")),
        ((*ESTIMATE, "--device", "V100", "--dtype", "bfloat16"), ("--dtype='bfloat16'", "float16 or float32")),
        (
            ("estimate", "gpt2:2B", "--tokens", "0.5", "--device", "abacus", "--utilisation", "1.1", "--batch", "0"),
            ("5 faults", "gpt2:2B", "--tokens=0.5", "--device='abacus'", "TPU-v4", "--utilisation=1.1", "--batch=0"),
        ),
    ],
)
def test_what_is_wrong_is_named_at_once(
    arguments: tuple[str, ...], named: tuple[str, ...], refuse: Callable[..., str]
) -> None:
    message = refuse(*arguments)
    assert [word for word in named if word not in message] == []


def test_a_family_without_attention_has_a_card_and_no_estimate(
    call: Callable[..., str], refuse: Callable[..., str]
) -> None:
    recurrent = [family for family in catalogue() if family.kind == "recurrent"]
    assert recurrent, "the tree has recurrent families"
    for family in recurrent:
        size = next(iter(family.sizes))
        assert json.loads(call("card", family.name, "--json"))["sizes"][size]["cache_bytes_per_token"] == 0
        assert f"stemma card {family.name}" in refuse("estimate", f"{family.name}:{size}", "--tokens", "1")


@pytest.mark.parametrize("arguments", [["card", "t5"], [*ESTIMATE], ["diff", "gpt2:117M", "llama:7B"]])
def test_no_torch_is_needed(arguments: list[str]) -> None:
    script = (
        f"import sys\nfrom stemma.cli.main import run\nassert run({arguments}) == 0\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
