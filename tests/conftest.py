"""What every test runs under: no network, two threads, shapes checked, reproducible examples."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

# Before any import below reads them.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ.setdefault("OMP_NUM_THREADS", "2")

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

# Public tensor signatures are checked on each call; the hook has to stand before the modules are first imported.
install_import_hook(["stemma.nn", "stemma.generation"], "beartype.beartype")

settings.register_profile("tests", derandomize=True, deadline=None, max_examples=20)
settings.register_profile("check", settings.get_profile("tests"), max_examples=2)
settings.register_profile(
    "prove", deadline=None, max_examples=1000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --figures and --whole."""
    parser.addoption("--figures", type=Path, help="append each measured figure to this file, one JSON line each")
    parser.addoption("--whole", action="store_true", help="every case of the tests of which some stand for all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow cases of tests that are `sampled(n)` but for one in n; `make prove` runs them all."""
    if config.getoption("--whole"):
        return
    seen: Counter[str] = Counter()
    kept, left = [], []
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is None or item.get_closest_marker("slow") is None:
            kept.append(item)
            continue
        test = item.nodeid.partition("[")[0]
        (left if seen[test] % mark.args[0] else kept).append(item)
        seen[test] += 1
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record a measured figure: `figure("logits", largest=3e-6)`; kept where --figures names a file."""
    path: Path | None = request.config.getoption("--figures")

    def record(name: str, **values: float | int | str) -> None:
        if path is not None:
            with path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"test": request.node.nodeid, "figure": name, **values}) + "\n")

    return record


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data and weights that stands beside the repository on development machines."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder of shared data and weights at {folder}")
    return folder
