"""One whole run that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from stemma.training import Outcome, Run

from .tiny_run import tiny_run


@pytest.fixture(scope="session")
def over(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Outcome]:
    """A run that took all its steps, and how it ended; its folder is only to be read."""
    run = tiny_run(Path(tmp_path_factory.mktemp("over")) / "run", licence="PSF")
    return run, run.train()
