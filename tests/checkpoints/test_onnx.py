"""Graphs that we write, run by onnxruntime beside the network itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch

from stemma.checkpoints import Stored
from stemma.checkpoints.onnx import FILE, write_onnx
from stemma.cli.main import run
from stemma.errors import CheckpointError
from stemma.families import BERT, GPT2, LLAMA, MISTRAL, MIXTRAL, T5, XLNET
from stemma.nn import Model
from stemma.pretrained import Pretrained
from stemma.spec import Family, SlidingWindow
from stemma.text import train

from ..tiny import small_parts
from ..tolerances import FP32

SIZES: dict[str, Any] = dict(n_layers=2, d_model=24, n_heads=6, d_ff=20, vocab_size=31)
CASES: dict[str, tuple[Family, dict[str, Any]]] = {
    "bert": (BERT, dict(heads=())),
    "gpt2": (GPT2, {}),
    "llama": (LLAMA, dict(n_kv_heads=2)),
    "a window": (MISTRAL, dict(n_kv_heads=3, attention=SlidingWindow(4))),
    "t5": (T5, {}),
}


@pytest.fixture
def untyped() -> Iterator[None]:
    """A trace counts in symbols, which are no `int` for the checks that the tests put around every call."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.slow
@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("name", CASES)
def test_a_graph_computes_what_the_network_does(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    family, parts = CASES[name]
    model = Model(family.build(**SIZES | parts), seed=1).eval()
    assert write_onnx(Stored(family, model), tmp_path / "graph") == ()
    assert str(Path(__file__).parent).encode() not in (tmp_path / "graph" / FILE).read_bytes()
    session = runtime.InferenceSession(tmp_path / "graph" / FILE)
    inputs = [given.name for given in session.get_inputs()]
    draws = torch.Generator().manual_seed(0)
    for rows, length in ((1, 1), (2, 5), (3, 11)):
        ids, mask = torch.randint(0, 31, (rows, length), generator=draws), torch.ones(rows, length, dtype=torch.long)
        mask[0, : length // 2], mask[1:, length - 1 :] = 0, 0  # padded on the left, and on the right
        feeds, others, real = {"input_ids": ids, "attention_mask": mask}, {}, mask.bool()
        if "token_type_ids" in inputs:
            feeds["token_type_ids"] = others["segments"] = torch.randint(0, 2, (rows, length), generator=draws)
        if "decoder_input_ids" in inputs:
            written = torch.randint(0, 31, (rows, length + 2), generator=draws)
            feeds["decoder_input_ids"] = others["decoder_tokens"] = written
            real = torch.ones_like(written, dtype=torch.bool)
        assert list(feeds) == inputs
        [found] = session.run(None, {key: value.numpy() for key, value in feeds.items()})
        with torch.no_grad():
            output = model(ids, mask=mask.bool(), **others)
        expected = output.hidden if output.logits is None else output.logits
        assert found.shape == expected.shape
        assert (torch.from_numpy(found) - expected)[real].abs().max() < FP32


@pytest.mark.slow
@pytest.mark.usefixtures("untyped")
def test_the_command_writes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    tokenizer = train(["low lower lowest"] * 3, vocab_size=270)
    own = BERT.build(**SIZES | dict(vocab_size=270))
    Pretrained("tiny", Model(own, seed=0), tokenizer, BERT, None, {}).save(tmp_path / "folder")
    assert run(["convert", str(tmp_path / "folder"), str(tmp_path / "out"), "--to", "onnx", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == ["model.onnx", "tokenizer.json", "tokenizer_config.json"]
    assert told["left_out"] == ["pooler", "mlm", "nsp"]


def model_of(family: Family, **changes: Any) -> Stored:
    sizes = SIZES | small_parts(family, 31) | changes
    return Stored(family, Model(family.build(**sizes), seed=0))


def test_what_is_not_exported_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="experts='present' is not exported; write it with --to hf"):
        write_onnx(model_of(MIXTRAL), tmp_path / "out")
    with pytest.raises(CheckpointError, match="stacks"):
        write_onnx(model_of(XLNET), tmp_path / "out")
    half = model_of(GPT2)
    half.model.to(torch.bfloat16)
    half.model.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(CheckpointError) as caught:
        write_onnx(half, tmp_path / "out")
    assert {"dtype", "extra"} <= {fault.field for fault in caught.value.faults}
    assert not any(tmp_path.iterdir())


def test_without_its_packages_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(CheckpointError, match=r"onnxscript=None is needed .* pip install 'stemma-lm\[onnx\]'"):
        write_onnx(model_of(GPT2), tmp_path / "out")
