"""Broken checkpoints: one error that names field, value, rule and remedy; nothing is loaded, nothing is written."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stemma.checkpoints import read_folder, read_gguf
from stemma.errors import CheckpointError

Break = Callable[[Path], None]


def config(**changes: Any) -> Break:
    """Change entries of config.json; ... removes one."""

    def apply(folder: Path) -> None:
        content = {**json.loads((folder / "config.json").read_text()), **changes}
        content = {name: value for name, value in content.items() if value is not ...}
        (folder / "config.json").write_text(json.dumps(content))

    return apply


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Break:
    """Change the tensors."""

    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return apply


def header(change: Callable[[dict[str, Any]], object]) -> Break:
    """Change the header of the weights and leave the data."""

    def apply(folder: Path) -> None:
        raw = (folder / "model.safetensors").read_bytes()
        length = int.from_bytes(raw[:8], "little")
        content = json.loads(raw[8 : 8 + length])
        change(content)
        text = json.dumps(content).encode()
        (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])

    return apply


def raw(change: Callable[[bytes], bytes], name: str = "model.safetensors") -> Break:
    """Change the bytes of a file."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes())) and None


def index(change: Callable[[dict[str, str], Path], object]) -> Break:
    """Cut the weights into two shards, then change the index."""

    def apply(folder: Path) -> None:
        tensors = list(load_file(folder / "model.safetensors").items())
        (folder / "model.safetensors").unlink()
        weight_map = {}
        for number, part in enumerate((tensors[:4], tensors[4:])):
            save_file(dict(part), folder / f"{number}.safetensors")
            weight_map |= dict.fromkeys(dict(part), f"{number}.safetensors")
        change(weight_map, folder)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return apply


def both(*breaks: Break) -> Break:
    return lambda folder: [apply(folder) for apply in breaks] and None


def shift(content: dict[str, Any]) -> None:
    name = "model.norm.weight"
    content[name]["data_offsets"] = [place - 8 for place in content[name]["data_offsets"]]


def twice(text: bytes) -> bytes:
    length = int.from_bytes(text[:8], "little")
    inner = text[8 : 8 + length].rstrip()
    entry = b'"model.norm.weight":' + json.dumps(json.loads(inner)["model.norm.weight"]).encode()
    inner = inner[:-1] + b"," + entry + b"}"
    return len(inner).to_bytes(8, "little") + inner + text[8 + length :]


LM, EMBED, NORM = "lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"
BROKEN: dict[str, tuple[Break, str]] = {
    "truncated data": (raw(lambda b: b[:-100]), "data"),
    "truncated header": (raw(lambda b: b[:50]), "header length"),
    "empty file": (raw(lambda b: b""), "header length"),
    "lying header length": (raw(lambda b: struct.pack("<Q", 2**62) + b[8:]), "header length"),
    "header longer than allowed": (raw(lambda b: struct.pack("<Q", 100_000_001) + b[8:]), "header length"),
    "header is no JSON": (raw(lambda b: b[:8] + b"x" + b[9:]), "content"),
    "header deeply nested": (raw(lambda b: struct.pack("<Q", 200_000) + b"[" * 200_000), "content"),
    "overlapping offsets": (header(shift), f"{NORM}.data_offsets"),
    "size not of dtype": (header(lambda h: h[NORM].update(dtype="F16")), f"{NORM}.data_offsets"),
    "unknown dtype": (header(lambda h: h[NORM].update(dtype="F7")), f"{NORM}.dtype"),
    "negative shape": (header(lambda h: h[NORM].update(shape=[-24])), f"{NORM}.shape"),
    "entry without shape": (header(lambda h: h[NORM].pop("shape")), NORM),
    "bytes behind the data": (raw(lambda b: b + b"1234"), "data"),
    "metadata of no strings": (header(lambda h: h.update(__metadata__={"a": 1})), "model.safetensors: header"),
    "duplicate key": (raw(twice), NORM),
    "missing key": (weights(lambda t: t.pop(NORM)), NORM),
    "surplus key": (weights(lambda t: t.update(extra=torch.zeros(2))), "extra"),
    "wrong shape": (weights(lambda t: t.update({NORM: torch.zeros(25)})), NORM),
    "whole numbers": (weights(lambda t: t.update({NORM: torch.zeros(24, dtype=torch.int32)})), NORM),
    "a tied copy that differs": (config(tie_word_embeddings=True), LM),
    "unknown model type": (config(model_type="mamba"), "model_type"),
    "no model type": (config(model_type=...), "model_type"),
    "unknown configuration key": (config(parallel_residual=True), "parallel_residual"),
    "another meaning": (config(rope_scaling={"type": "linear", "factor": 2.0}), "rope_scaling"),
    "contradictory configuration": (config(num_key_value_heads=4), "n_kv_heads"),
    "missing configuration key": (config(hidden_size=...), "hidden_size"),
    "a word for a number": (config(hidden_size="24"), "hidden_size"),
    "true for a number": (config(num_hidden_layers=True), "num_hidden_layers"),
    "unknown activation": (config(hidden_act="swishy"), "hidden_act"),
    "a list for an activation": (config(hidden_act=["silu"]), "hidden_act"),
    "NaN": (config(rms_norm_eps=float("nan")), "rms_norm_eps"),
    "infinity": (config(max_position_embeddings=float("inf")), "max_position_embeddings"),
    "a billion layers": (config(num_hidden_layers=10**9), "n_layers"),
    "a vocabulary beyond all bounds": (config(vocab_size=10**30), "vocab_size"),
    "configuration is a list": (raw(lambda b: b"[1]", "config.json"), "content"),
    "configuration cut short": (raw(lambda b: b[:-9], "config.json"), "content"),
    "configuration says a thing twice": (
        raw(lambda b: b.rstrip()[:-1] + b', "vocab_size": 31}', "config.json"),
        "vocab_size",
    ),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "file"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "weights"),
    "pickle only": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin") and None, "weights"),
    "missing shard": (index(lambda m, f: (f / "1.safetensors").unlink()), "weight_map"),
    "index out of the folder": (index(lambda m, f: m.update(dict.fromkeys(m, "../0.safetensors"))), "weight_map"),
    "index to a pickle": (index(lambda m, f: m.update({NORM: "0.bin"})), "weight_map"),
    "index promises more": (index(lambda m, f: m.update(more="0.safetensors")), "more"),
    "index knows less": (index(lambda m, f: m.pop(NORM)), NORM),
    "empty index": (index(lambda m, f: m.clear()), "weight_map"),
    "a tensor in two shards": (
        index(lambda m, f: save_file({**load_file(f / "0.safetensors"), NORM: torch.zeros(24)}, f / "0.safetensors")),
        NORM,
    ),
    "damaged stemma.json": (
        lambda f: (f / "stemma.json").write_text('{"format": 1, "family": "llama"}') and None,
        "architecture",
    ),
    "stemma.json of the future": (lambda f: (f / "stemma.json").write_text('{"format": 2}') and None, "format"),
    "unknown family": (lambda f: (f / "stemma.json").write_text('{"format": 1, "family": "x"}') and None, "name"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_one_clear_error(kind: str, llama_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(llama_folder, folder)
    damage, field = BROKEN[kind]
    damage(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(CheckpointError) as caught:
        read_folder(folder)
    assert any(fault.field.endswith(field) for fault in caught.value.faults), caught.value
    assert all(fault.rule and fault.remedy for fault in caught.value.faults)
    assert str(folder) in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_all_faults_of_a_folder_are_told_at_once(llama_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(llama_folder, folder)
    both(config(colour=1, taste=2, hidden_act="x", hidden_size=...))(folder)
    with pytest.raises(CheckpointError) as caught:
        read_folder(folder)
    assert {fault.field for fault in caught.value.faults} == {"colour", "taste", "hidden_act", "hidden_size"}
    shutil.copytree(llama_folder, folder, dirs_exist_ok=True)
    weights(lambda t: (t.pop(NORM), t.update({"extra": torch.zeros(2), LM: torch.zeros(3, 3)})))(folder)
    with pytest.raises(CheckpointError) as caught:
        read_folder(folder)
    assert {fault.field for fault in caught.value.faults} == {NORM, LM, "extra"}


def test_two_spellings_of_one_name_are_a_duplicate(all_cases: Any, tmp_path: Path) -> None:
    next(case for case in all_cases if case.variant.name == "BertModel").save(tmp_path)
    name = "embeddings.LayerNorm"
    weights(lambda t: t.update({f"{name}.gamma": t[f"{name}.weight"].clone()}))(tmp_path)
    with pytest.raises(CheckpointError, match="stands in"):
        read_folder(tmp_path)


def test_an_offset_that_should_be_zero_is_checked(all_cases: Any, tmp_path: Path) -> None:
    """A Marian folder of ours without an offset a word holds zeros for it; other values would be lost."""
    from stemma.checkpoints import Stored, write_folder
    from stemma.families import TRANSFORMER
    from stemma.nn import Model

    own = TRANSFORMER.build(n_layers=1, d_model=8, n_heads=2, vocab_size=11, d_ff=12)
    write_folder(Stored(TRANSFORMER, Model(own)), tmp_path / "a")
    assert read_folder(tmp_path / "a").architecture == own
    weights(lambda t: t["final_logits_bias"].fill_(1))(tmp_path / "a")
    with pytest.raises(CheckpointError, match="must be zero"):
        read_folder(tmp_path / "a")


@pytest.mark.parametrize("read", [read_folder, read_gguf])
def test_a_path_that_leads_nowhere(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read(tmp_path / "nothing")
