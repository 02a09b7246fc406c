"""Models in 4 and 8 bits: what they hold, what they write with, and how they are kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import stemma
from stemma.adaptation import LoRA, detach
from stemma.checkpoints import Stored, locate, read_gguf
from stemma.checkpoints.gguf_codes import read_codes
from stemma.checkpoints.gguf_write import write_gguf
from stemma.compiled import compiled
from stemma.engine.stepper import NativeStepper
from stemma.errors import CheckpointError, InputError, SourceError, StemmaError
from stemma.families import family
from stemma.generation import ModelStepper
from stemma.pretrained import Pretrained
from stemma.text.gguf_entries import gguf_entries

from .small_models import TEXTS, small_model, small_tokenizer
from .tiny import random_model

WRITERS = ("gpt2", "llama", "bloom", "mixtral", "t5")
KINDS = ("int8", "int4")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models of several families, by their names."""
    place = tmp_path_factory.mktemp("models")
    for name in (*WRITERS, "bert"):
        small_model(name).save(place / name)
    return place


def written(lm: Pretrained) -> list[str]:
    return lm.generate(TEXTS, max_new_tokens=6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WRITERS)
def test_the_native_step_writes_what_torch_writes_with_the_same_weights(name: str, kind: Any, folders: Path) -> None:
    lm = stemma.load(folders / name, quantize=kind, dtype="float32")
    assert lm.quantised is not None
    parameters = dict(lm.model.named_parameters())
    for path, matrix in lm.quantised.matrices.items():
        assert np.array_equal(parameters[path].detach().numpy(), matrix.dequantised()), path
    tables = {"embeddings.token.weight", "heads.lm.weight"}
    assert {matrix.bits for path, matrix in lm.quantised.matrices.items() if path not in tables} == {int(kind[3:])}
    assert {matrix.bits for path, matrix in lm.quantised.matrices.items() if path in tables} == {8}
    assert isinstance(lm.stepper(), ModelStepper if compiled() is None else NativeStepper)
    found = written(lm)
    lm.quantised = None
    assert found == written(lm)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*WRITERS, "bert"])
def test_a_saved_one_comes_back_to_the_last_bit(name: str, kind: Any, folders: Path, tmp_path: Path) -> None:
    first = stemma.load(folders / name, quantize=kind)
    first.save(tmp_path / "small")
    again = stemma.load(tmp_path / "small")
    assert first.quantised is not None
    assert again.quantised is not None
    assert (again.quantised.kind, again.architecture, again.family) == (kind, first.architecture, first.family)
    assert list(again.quantised.matrices) == list(first.quantised.matrices)
    for one, other in zip(first.quantised.matrices.values(), again.quantised.matrices.values(), strict=True):
        assert np.array_equal(one.codes, other.codes)
        assert np.array_equal(one.scales, other.scales)
    theirs = dict(first.model.named_parameters())
    assert all(torch.equal(part, theirs[path]) for path, part in again.model.named_parameters())
    if name == "bert":
        assert np.array_equal(first.embed(TEXTS), again.embed(TEXTS))
        exact = stemma.load(folders / name).embed(TEXTS)
        assert kind == "int4" or np.abs(exact - again.embed(TEXTS)).max() < np.abs(exact).max() / 4
    else:
        assert written(first) == written(again)


def test_codes_of_a_file_are_taken_as_they_are(folders: Path, tmp_path: Path) -> None:
    exact = stemma.load(folders / "llama")
    for numbers, kind in (("Q4_1", "int4"), ("Q4_0", "int4"), ("Q8_0", "int8")):
        path = tmp_path / f"{numbers}.gguf"
        wide = exact.architecture.change(d_model=64, d_ff=96, d_head=16)
        entries = gguf_entries(small_tokenizer(), wide.vocab_size)
        write_gguf(Stored(family("llama"), random_model(wide)), path, numbers, entries=entries)
        lm = stemma.load(path, quantize=kind, dtype="float32")  # type: ignore[arg-type]
        assert lm.quantised is not None
        kept = dict(read_codes(path, read_gguf(path)))
        inside = [name for name in kept if ".blocks." in name]
        assert len(inside) == 7 * wide.n_layers
        assert all(np.array_equal(lm.quantised.matrices[name].codes, kept[name].codes) for name in inside)
        assert all(np.array_equal(lm.quantised.matrices[name].scales, kept[name].scales) for name in inside)


def test_torch_writes_where_more_than_its_own_weights_are_asked(folders: Path, tmp_path: Path) -> None:
    if compiled() is None:
        pytest.skip("the compiled part is not installed")
    lm = stemma.load(folders / "llama", quantize="int4", dtype="float32")
    own = written(lm)
    adapted = LoRA(rank=2)
    adapted.attach(lm.model, "more")
    assert isinstance(lm.stepper(), ModelStepper)
    detach(lm.model, "more")
    assert isinstance(lm.stepper(), NativeStepper)
    assert written(lm) == own
    with torch.no_grad():
        next(lm.model.decoder.parameters()).add_(1)  # type: ignore[union-attr]
    assert isinstance(lm.stepper(), ModelStepper)
    lm.save(tmp_path / "whole")
    assert stemma.load(tmp_path / "whole").quantised is None


def test_without_the_compiled_part_torch_serves(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemma.engine.weights.compiled", lambda: None)
    lm = stemma.load(folders / "gpt2", quantize="int4", dtype="float32")
    assert isinstance(lm.stepper(), ModelStepper)
    assert len(written(lm)) == len(TEXTS)


def test_what_cannot_be_quantised_is_refused(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"quantize='int3' is unknown; use one of int4, int8"):
        stemma.load(folders / "gpt2", quantize="int3")  # type: ignore[arg-type]
    stemma.load(folders / "gpt2", quantize="int8").save(tmp_path / "small")
    with pytest.raises(InputError, match="is not how it was saved, which is int8"):
        stemma.load(tmp_path / "small", quantize="int4")


DAMAGES = {
    "no codes": lambda tensors: tensors.pop("decoder.blocks.0.attention.query.weight.codes"),
    "a stranger": lambda tensors: tensors.update(stranger=torch.zeros(2)),
    "codes of another type": lambda tensors: tensors.update(
        {"decoder.blocks.0.attention.query.weight.codes": torch.zeros(48, 24)}
    ),
    "too few scales": lambda tensors: tensors.update(
        {"decoder.blocks.0.attention.query.weight.scales": torch.zeros(48, 1, dtype=torch.float16)}
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_one_error(damage: str, folders: Path, tmp_path: Path) -> None:
    stemma.load(folders / "llama", quantize="int4").save(tmp_path / "small")
    file = tmp_path / "small" / "model.safetensors"
    tensors = load_file(file)
    DAMAGES[damage](tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="quantise the model again"):
        stemma.load(tmp_path / "small")


@pytest.mark.parametrize(("field", "value"), [("format", 2), ("group", 64), ("kind", "int3")])
def test_a_folder_of_another_form_is_one_error(field: str, value: object, folders: Path, tmp_path: Path) -> None:
    stemma.load(folders / "llama", quantize="int4").save(tmp_path / "small")
    told = tmp_path / "small" / "quantised.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {field: value}))
    with pytest.raises(StemmaError, match=field):
        stemma.load(tmp_path / "small")


def test_a_folder_without_its_architecture_is_one_error(folders: Path, tmp_path: Path) -> None:
    stemma.load(folders / "llama", quantize="int4").save(tmp_path / "small")
    shutil.copytree(tmp_path / "small", tmp_path / "half", ignore=shutil.ignore_patterns("stemma.json"))
    with pytest.raises(CheckpointError, match=r"stemma\.json"):
        stemma.load(tmp_path / "half")


@pytest.mark.real
def test_the_embedded_model_keeps_its_own_blocks() -> None:
    """SmolLM2: the file's 4-bit blocks, and greedy text as torch writes it with the same weights."""
    try:
        locate("smollm2")
    except SourceError as error:
        pytest.skip(str(error))
    lm = stemma.load("smollm2", quantize="int4", dtype="float32")
    found = lm.generate("In this example we are going to", max_new_tokens=16)
    lm.quantised = None
    assert found == lm.generate("In this example we are going to", max_new_tokens=16)
