"""What a run tells of itself: its card, its record, and several of them side by side."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stemma.errors import CheckpointError, InputError, StemmaError
from stemma.families import family
from stemma.spec import MaskedLMHead, Pooler, SpanBoundaryHead
from stemma.spec.devices import DEVICES
from stemma.training import Outcome, Run
from stemma.training.files import write_whole
from stemma.training.folders import published
from stemma.training.machine import Machine
from stemma.training.record import Record
from stemma.training.summary import read_record, summaries

from .small import Ends
from .tiny_run import vocabulary

Over = tuple[Run, Outcome]


def test_the_card_holds_the_figures(over: Over) -> None:
    folder = Path(over[0].folder)
    text, record = (folder / "model" / "README.md").read_text(), read_record(folder / "run.json")
    assert text.startswith("---\nlibrary_name: stemma\ntags: [gpt2, causal]\n---\n")
    baseline, data, held_out = record.baselines["next"], record.data[0], record.losses["held_out"]["loss.next"]
    assert baseline.bigram is not None
    row = [record.losses["train"]["loss.next"], held_out, baseline.unigram, baseline.bigram]
    assert f"| loss.next | {' | '.join(f'{figure:.4f}' for figure in row)} |" in text
    assert f"| `{data.name}` | {data.documents:,} | {data.held_out:,} | {data.tokens:,} |" in text
    for part in (
        f"A network of {record.parameters:,} parameters in the manner of {family('gpt2').paper}",
        f"a vocabulary of its kind: bytebpe, {420} tokens",
        "Licence: PSF.",
        f"| tokens | {record.tokens:,} |",
        f"1 x {record.machine.name}",
        f"torch {torch.__version__}",
        (folder / "run.toml").read_text().strip(),
    ):
        assert part in text, part


def test_the_record_comes_back(over: Over) -> None:
    found = read_record(Path(over[0].folder) / "run.json")
    content = json.loads((Path(over[0].folder) / "run.json").read_text())
    assert json.loads(json.dumps(found.as_dict())) == content
    assert content.keys() == {field.name for field in fields(Record)}
    hours = found.seconds / 3600
    assert found.kilowatt_hours == pytest.approx(hours * found.machine.watts / 1000 * 1.1, rel=1e-6)
    assert found.tokens_per_second == found.tokens / found.seconds


def broken(over: Over, folder: Path, name: str, change: Any) -> Path:
    found = Path(shutil.copytree(over[0].folder, folder / "run"))
    (found / name).write_text(change((found / name).read_text()))
    return found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[:40], "is no JSON"),
        (lambda text: text.replace('"format": 1', '"format": 99'), "format=99 must be 1; use the version that wrote"),
        (lambda text: "[]", "must be a JSON object"),
        (lambda text: text.replace('"steps"', '"stops"'), "stops=30 is no field"),
        (lambda text: text.replace('"steps": 30', '"steps": "thirty"'), "steps='thirty' must be a valid integer"),
    ],
    ids=["cut", "format", "list", "key", "type"],
)
def test_a_broken_record(change: Any, told: str, over: Over, tmp_path: Path) -> None:
    folder = broken(over, tmp_path, "run.json", change)
    with pytest.raises(CheckpointError, match=told):
        read_record(folder / "run.json")
    with pytest.raises(InputError, match=told) as raised:
        summaries([folder, tmp_path / "nothing"])
    assert str(raised.value.faults[-1]).endswith("holds no run; name the folder that a run file calls `folder`")


def test_a_run_that_is_over_beside_one_that_is_not(over: Over, tmp_path: Path) -> None:
    going = replace(over[0], folder=tmp_path / "run", tokenizer=vocabulary())
    assert going.train([Ends(12, signal.SIGINT)]).ended == "interrupted"
    first, second = summaries([Path(over[0].folder), tmp_path / "run"])
    assert first.keys() == second.keys()
    assert (first["ended"], second["ended"]) == ("steps", None)
    assert (first["steps"], second["steps"]) == (30, second["steps"])
    assert second["steps"] in (12, 13)
    assert second["family"] == first["family"] == "gpt2"
    assert second["losses"].keys() == first["losses"].keys() == {"loss.next"}
    assert first["baselines"].keys() == {"next"}
    assert json.loads(json.dumps([first, second], allow_nan=False))
    (tmp_path / "run" / "run.toml").write_text("steps =")
    with pytest.raises(InputError, match="is no TOML"):
        summaries([tmp_path / "run"])


def test_heads_that_no_class_elsewhere_has_are_left_out() -> None:
    small = dict(n_layers=1, d_model=8, n_heads=2, vocab_size=9)
    spanbert = family("spanbert")
    held = {type(head) for head in spanbert.build(**small).heads}
    assert SpanBoundaryHead in held
    kept = {type(head) for head in published(spanbert, spanbert.build(**small)).heads}
    assert kept == held - {SpanBoundaryHead}
    bert = family("bert").build(**small, heads=(MaskedLMHead(), Pooler()))
    left = published(family("bert"), bert)
    assert {type(head) for head in left.heads} <= {MaskedLMHead, Pooler}
    assert left.heads


def test_a_machine_is_told_by_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = Machine.of(torch.device("cpu"))
    assert here.units == torch.get_num_threads()
    assert here.watts == DEVICES["CPU-2-cores"].watts / 2 * here.units
    known = next(one for one in DEVICES.values() if one.name.startswith("A100"))
    for name, watts in (("NVIDIA A100 80GB PCIe", known.watts), ("NVIDIA Nonesuch", 300.0)):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert Machine.of(torch.device("cuda")) == Machine(name, (), 1, watts)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b.txt", "one")
    write_whole(tmp_path / "a" / "b.txt", "two")
    assert [path.read_text() for path in (tmp_path / "a").iterdir()] == ["two"]
    with pytest.raises(StemmaError, match="cannot be written: "):
        write_whole(tmp_path / "a" / "b.txt" / "c", "three")
