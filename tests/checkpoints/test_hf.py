"""Hugging Face folders: theirs read, ours written, theirs again, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stemma.checkpoints import Stored, read_folder, write_folder
from stemma.errors import CheckpointError
from stemma.families import BERT, LLAMA
from stemma.nn import Model
from stemma.spec import Parallel, Pooler

from ..tiny import formats


def parameters(stored: Stored) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in stored.model.named_parameters()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_every_class_and_setting_is_among_the_cases(all_cases: Any) -> None:
    assert {case.family.name for case in all_cases} == {family.name for family in formats()}
    assert {str(case) for case in all_cases} >= {
        "llama-LlamaForCausalLM-lm-grouped",
        "llama-LlamaForCausalLM-lm-biased",
        "llama-LlamaForCausalLM-lm-flipped",
        "llama-LlamaForCausalLM-lm-wide",
        "gpt2-GPT2LMHeadModel-lm-flipped",
        "t5-T5ForConditionalGeneration-lm-flipped",
        "t5-v1.1-T5ForConditionalGeneration-lm-plain",
        "bert-BertForPreTraining-pooler+mlm+nsp-flipped",
        "transformer-MarianMTModel-lm-plain",
    }


def test_their_folder_is_read_and_reopens_bit_for_bit(case: Any, tmp_path: Path) -> None:
    case.save(tmp_path / "theirs")
    stored = read_folder(tmp_path / "theirs")
    assert stored.architecture == case.architecture
    write_folder(stored, tmp_path / "ours")
    assert same(case.open(tmp_path / "theirs"), case.open(tmp_path / "ours"))
    again = read_folder(tmp_path / "ours")
    assert again.architecture == stored.architecture
    assert again.family == stored.family
    assert same(parameters(again), parameters(stored))


def _held(opened: dict[str, torch.Tensor], name: str, shape: torch.Size) -> list[torch.Tensor]:
    """Where a tensor of a file may lie in memory: under its name, under another, or in a stack of several."""
    if name in opened:
        return [opened[name]]
    stacks = [matrix for stack in opened.values() if stack.ndim == 3 for matrix in stack]
    parts = [part for matrix in stacks for part in matrix.split(shape[0])]
    return [one for one in (*opened.values(), *parts) if one.shape == shape]


def test_our_folder_reopens_in_transformers_bit_for_bit(usual: Any, tmp_path: Path) -> None:
    model = Model(usual.architecture, seed=7)
    write_folder(Stored(usual.family, model, usual.facts), tmp_path / "ours")
    opened = usual.open(tmp_path / "ours")
    stored = load_file(tmp_path / "ours" / "model.safetensors")
    for name, tensor in stored.items():
        assert any(torch.equal(one, tensor) for one in _held(opened, name, tensor.shape)), name
    assert same(parameters(read_folder(tmp_path / "ours")), dict(model.named_parameters()))


def test_shards_hold_the_same(llama_folder: Path, tmp_path: Path) -> None:
    whole = read_folder(llama_folder)
    write_folder(whole, tmp_path / "shards", shard_bytes=4000)
    files = sorted(path.name for path in (tmp_path / "shards").glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    assert all((tmp_path / "shards" / file).stat().st_size < 6000 for file in files)
    assert same(parameters(read_folder(tmp_path / "shards")), parameters(whole))
    import transformers

    opened = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "shards").state_dict()
    assert same(opened, transformers.LlamaForCausalLM.from_pretrained(llama_folder).state_dict())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_dtypes_convert_one_tensor_at_a_time(llama_folder: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    whole = read_folder(llama_folder)
    half = read_folder(llama_folder, dtype=dtype)
    assert same(parameters(half), {name: tensor.to(dtype) for name, tensor in parameters(whole).items()})
    write_folder(half, tmp_path / "half")
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    back = read_folder(tmp_path / "half")
    assert same(parameters(back), {name: tensor.float() for name, tensor in parameters(half).items()})


@pytest.mark.parametrize("sharded", [False, True])
def test_pickled_weights_are_read_only_when_asked_for(llama_folder: Path, tmp_path: Path, sharded: bool) -> None:
    weights = load_file(llama_folder / "model.safetensors")
    (tmp_path / "config.json").write_text((llama_folder / "config.json").read_text())
    if sharded:
        parts = [dict(list(weights.items())[:5]), dict(list(weights.items())[5:])]
        for number, part in enumerate(parts):
            torch.save(part, tmp_path / f"pytorch_model-{number}.bin")
        index = {name: f"pytorch_model-{number}.bin" for number, part in enumerate(parts) for name in part}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": index}))
    else:
        torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="are pickles"):
        read_folder(tmp_path)
    assert same(parameters(read_folder(tmp_path, allow_pickle=True)), parameters(read_folder(llama_folder)))


def test_a_pickle_that_would_run_code_is_refused(llama_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((llama_folder / "config.json").read_text())
    torch.save({"model.norm.weight": pytest.Item}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be read as weights alone"):
        read_folder(tmp_path, allow_pickle=True)


def plain(all_cases: Any, name: str) -> Any:
    return next(case for case in all_cases if case.variant.name == name and case.switch == "plain")


def test_a_folder_with_more_heads_than_its_class_gives_them_all(all_cases: Any, tmp_path: Path) -> None:
    """As bert-base-uncased does: it names BertForMaskedLM, and holds the heads of pre-training under old names."""
    plain(all_cases, "BertForPreTraining").save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"architectures": ["BertForMaskedLM"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = load_file(tmp_path / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in weights.items()
    }
    old["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"].clone()
    old["bert.embeddings.position_ids"] = torch.arange(4)[None]
    save_file(old, tmp_path / "model.safetensors")
    stored = read_folder(tmp_path)
    assert {head.name for head in stored.architecture.heads} == {"pooler", "mlm", "nsp"}
    norm = stored.model.state_dict()["embeddings.norm.weight"]
    assert torch.equal(norm, weights["bert.embeddings.LayerNorm.weight"])


def test_names_without_the_prefix_of_their_class_are_read(all_cases: Any, tmp_path: Path) -> None:
    """As in the folder gpt2: it names GPT2LMHeadModel, and holds the body's bare names and old buffers."""
    plain(all_cases, "GPT2LMHeadModel").save(tmp_path)
    whole = parameters(read_folder(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}
    bare |= {f"h.{n}.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.uint8) for n in range(2)}
    save_file(bare, tmp_path / "model.safetensors")
    stored = read_folder(tmp_path)
    assert [head.name for head in stored.architecture.heads] == ["lm"]
    assert same(parameters(stored), whole)


def test_a_tied_copy_serves_where_the_original_is_absent(all_cases: Any, tmp_path: Path) -> None:
    plain(all_cases, "BertForMaskedLM").save(tmp_path)
    whole = parameters(read_folder(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    weights["cls.predictions.decoder.weight"] = weights.pop("bert.embeddings.word_embeddings.weight")
    save_file(weights, tmp_path / "model.safetensors")
    assert same(parameters(read_folder(tmp_path)), whole)


def test_a_missing_head_is_an_error_and_not_another_class(llama_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((llama_folder / "config.json").read_text())
    weights = load_file(llama_folder / "model.safetensors")
    save_file({name: t for name, t in weights.items() if name != "lm_head.weight"}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lm_head\.weight=None is missing"):
        read_folder(tmp_path)


def test_what_is_ignored_is_left_out(llama_folder: Path, tmp_path: Path) -> None:
    config = json.loads((llama_folder / "config.json").read_text()) | {"colour": "red"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = load_file(llama_folder / "model.safetensors")
    save_file(weights | {"classifier.weight": torch.zeros(2, 3)}, tmp_path / "model.safetensors")
    stored = read_folder(tmp_path, ignore=("classifier.*", "colour"))
    assert same(parameters(stored), parameters(read_folder(llama_folder)))


def test_facts_are_kept_and_written_back(llama_folder: Path, tmp_path: Path) -> None:
    config = json.loads((llama_folder / "config.json").read_text())
    config |= {"max_position_embeddings": 77, "eos_token_id": [3, 4], "use_cache": False, "_name_or_path": "x"}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    (tmp_path / "a" / "model.safetensors").write_bytes((llama_folder / "model.safetensors").read_bytes())
    stored = read_folder(tmp_path / "a")
    write_folder(stored, tmp_path / "b")
    written = json.loads((tmp_path / "b" / "config.json").read_text())
    kept = {name: written[name] for name in ("max_position_embeddings", "eos_token_id", "use_cache")}
    assert kept == {"max_position_embeddings": 77, "eos_token_id": [3, 4], "use_cache": False}
    assert "_name_or_path" not in written
    assert read_folder(tmp_path / "b").facts == stored.facts


def test_stemma_json_keeps_what_config_json_cannot_tell(tmp_path: Path) -> None:
    from stemma.spec import Dropout, FanIn

    changes = dict(n_layers=1, d_model=8, n_heads=2, vocab_size=11, d_ff=12)
    own = LLAMA.build(**changes, dropout=Dropout(residual=0.3, attention=0.2), initialisation=FanIn())
    write_folder(Stored(LLAMA, Model(own)), tmp_path / "a")
    assert read_folder(tmp_path / "a").architecture == own
    (tmp_path / "a" / "stemma.json").unlink()
    assert read_folder(tmp_path / "a").architecture.dropout == Dropout(attention=0.2)


def test_a_folder_that_says_two_things_is_an_error(tmp_path: Path) -> None:
    own = LLAMA.build(n_layers=1, d_model=8, n_heads=2, vocab_size=11, d_ff=12)
    write_folder(Stored(LLAMA, Model(own)), tmp_path / "a")
    path = tmp_path / "a" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rms_norm_eps": 0.5, "hidden_act": "gelu"}))
    with pytest.raises(CheckpointError) as caught:
        read_folder(tmp_path / "a")
    assert {fault.field for fault in caught.value.faults} == {"norm.eps", "feedforward.activation"}
    assert "delete stemma.json" in str(caught.value)


def test_what_their_format_cannot_hold_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    sizes = dict(n_layers=1, d_model=8, n_heads=2, vocab_size=11, d_ff=12)
    own = LLAMA.build(**sizes, placement=Parallel(), attention_scale=0.25)
    with pytest.raises(CheckpointError) as caught:
        write_folder(Stored(LLAMA, Model(own)), tmp_path / "a")
    assert {fault.field for fault in caught.value.faults} == {"placement", "attention_scale"}
    bert = BERT.build(**sizes, heads=(Pooler(),))
    with pytest.raises(CheckpointError, match="are those of no class"):
        write_folder(Stored(LLAMA, Model(bert)), tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_files_are_as_transformers_expects_them(llama_folder: Path, tmp_path: Path) -> None:
    write_folder(
        read_folder(llama_folder), tmp_path / "a", beside=lambda folder: folder.joinpath("note").touch() or None
    )
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "config.json",
        "model.safetensors",
        "note",
        "stemma.json",
    ]
    with safe_open(tmp_path / "a" / "model.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt"}
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert (config["architectures"], config["model_type"]) == (["LlamaForCausalLM"], "llama")
    own = json.loads((tmp_path / "a" / "stemma.json").read_text())
    assert own["family"] == "llama"
    assert own["architecture"]["position"] == {"kind": "Rotary", "base": 10_000.0, "fraction": 1.0, "layout": "halves"}
