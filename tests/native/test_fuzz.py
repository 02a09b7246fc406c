"""The compiled part under AddressSanitizer and UndefinedBehaviorSanitizer, on random specs and inputs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 300  # `make prove` runs 100,000


@pytest.mark.slow
def test_nothing_reads_or_writes_outside_its_memory(tmp_path: Path) -> None:
    """A spec that was spoilt is refused, and what runs keeps to its buffers; many decoders run."""
    if shutil.which("cmake") is None or shutil.which(os.environ.get("CXX", "c++")) is None:
        pytest.skip("no cmake or no C++ compiler is installed")
    for command in (["-S", str(ROOT), "-B", str(tmp_path), "-DSTEMMA_SANITISE=ON"], ["--build", str(tmp_path)]):
        built = subprocess.run(["cmake", *command], capture_output=True, text=True, timeout=500, check=False)
        assert built.returncode == 0, built.stderr[-3000:]
    run = subprocess.run([tmp_path / "stemma_fuzz", str(ROUNDS)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    found = re.search(r"(\d+) decoders ran", run.stdout)
    assert found is not None, run.stdout
    assert int(found[1]) > ROUNDS / 8
