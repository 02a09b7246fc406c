"""`torch.compile` takes the forward pass of every family as one graph."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stemma.spec import Family

from ..tiny import each_family
from ..tolerances import FP32

Report = dict[str, float | str]


def _report(backend: str, last: str = "all") -> Report:
    program = Path(__file__).with_name("compiled.py")
    ran = subprocess.run([sys.executable, str(program), backend, last], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    report: Report = json.loads(ran.stdout.splitlines()[-1])
    return report


@pytest.fixture(scope="module")
def traced() -> Report:
    """Every family, traced."""
    return _report("eager")


@pytest.mark.slow
@each_family
def test_the_pass_is_one_graph(family: Family, traced: Report) -> None:
    assert traced[family.name] == 0.0


@pytest.mark.slow
def test_the_compiled_pass_agrees() -> None:
    [difference] = _report("inductor", "1").values()
    assert isinstance(difference, float), difference
    assert difference <= FP32
