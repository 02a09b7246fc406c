"""What a folder with an adaptation must hold, and what happens where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stemma.adaptation import Adapters, BitFit, LoRA, Quantised, attach, load, merge, names, save, using
from stemma.errors import CheckpointError, InputError

from ..tiny import apart, random_model, tiny
from ..tolerances import FP32
from .choices import copies, disturb, family_of, network, outputs

TOLD, TENSORS = "adaptation.json", "adaptation.safetensors"


def saved(folder: Path, value: Any = LoRA(rank=2), **options: Any) -> Any:  # noqa: B008
    """A BERT with an adaptation, which is written."""
    model = network(family_of("bert"))
    attach(model, {"it": value})
    disturb(model, "it")
    save(model, "it", value, folder, **options)
    return model


def test_only_what_learned_is_written(tmp_path: Path) -> None:
    """Two files: the tensors of the adaptation without its name, and what is told of them."""
    model = saved(tmp_path / "it", facts={"labels": ["no", "yes"]}, heads=["nsp"])
    assert {path.name for path in (tmp_path / "it").iterdir()} == {TOLD, TENSORS}
    tensors = load_file(tmp_path / "it" / TENSORS)
    own = {path.replace(".changes.it.", ".changes.") for path, _ in model.named_parameters() if ".changes." in path}
    assert set(tensors) == own | {"heads.nsp.weight", "heads.nsp.bias"}
    fresh = network(family_of("bert"))
    with torch.no_grad():
        fresh.heads["nsp"].weight.zero_()
    found = load(fresh, tmp_path / "it", "mine")
    assert (found.heads, found.facts, names(fresh)) == (("nsp",), {"labels": ["no", "yes"]}, ("mine",))
    assert torch.equal(fresh.heads["nsp"].weight, model.heads["nsp"].weight)


def test_a_base_is_known_again(tmp_path: Path) -> None:
    """In bfloat16, with something merged, with other heads and as integers it is the same; with other numbers not."""
    saved(tmp_path / "it")
    family = family_of("bert")
    load(network(family).to(torch.bfloat16), tmp_path / "it", "it")
    merged = network(family)
    attach(merged, {"other": LoRA(targets=("*",))})
    disturb(merged, "other")
    merge(merged, "other")
    load(merged, tmp_path / "it", "it")
    bare = network(family)
    headless = random_model(tiny(family, heads=()))
    headless.load_state_dict({key: value for key, value in bare.state_dict().items() if not key.startswith("heads.")})
    load(headless, tmp_path / "it", "it")
    packed = network(family)
    attach(packed, {"base": Quantised()})
    load(packed, tmp_path / "it", "it")
    with pytest.raises(CheckpointError, match="has other numbers than the base"):
        load(network(family, seed=1), tmp_path / "it", "it")
    with pytest.raises(CheckpointError) as caught:
        load(random_model(tiny(family, n_layers=2, d_ff=24)), tmp_path / "it", "it")
    assert {"base.n_layers", "base.d_ff"} <= {fault.field for fault in caught.value.faults}
    with pytest.raises(CheckpointError, match="role of no map"):
        load(network(family_of("elmo")), tmp_path / "it", "it")


def _told(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        told = json.loads((folder / TOLD).read_text())
        change(told)
        (folder / TOLD).write_text(json.dumps(told))

    return write


def _tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tensors = load_file(folder / TENSORS)
        change(tensors)
        save_file(tensors, folder / TENSORS)

    return write


_QUERY = "encoder.blocks.0.attention.query.changes"
BROKEN: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "kind": (_told(lambda told: told.update(kind="magic", format=7)), {"kind", "format"}),
    "parts": (_told(lambda told: [told.pop(part) for part in ("heads", "facts", "base")]), {"heads", "facts", "base"}),
    "values": (
        _told(lambda told: told["values"].update(rank="two", colour=1, targets="query")),
        {"values.rank", "values.colour", "values.targets"},
    ),
    "rules": (_told(lambda told: told["values"].update(rank=0, targets=["qwery"])), {"it.rank", "it.targets"}),
    "head": (_told(lambda told: told.update(heads=["rating"])), {"heads"}),
    "tensors": (
        _tensors(
            lambda tensors: (
                tensors.pop(f"{_QUERY}.up"),
                tensors.update({"surplus": torch.zeros(1), f"{_QUERY}.down": torch.zeros(3, 3)}),
            )
        ),
        {f"{_QUERY}.up", "surplus", f"{_QUERY}.down"},
    ),
    "missing file": (lambda folder: (folder / TENSORS).unlink(), {"file"}),
    "no JSON": (lambda folder: (folder / TOLD).write_text("{"), {"content"}),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_folder_is_one_error(how: str, tmp_path: Path) -> None:
    """All that is wrong is told at once, and the network is as it was."""
    saved(tmp_path / "it")
    breaks, fields = BROKEN[how]
    breaks(tmp_path / "it")
    model = network(family_of("bert"))
    before = copies(model.named_parameters())
    with pytest.raises(CheckpointError) as caught:
        load(model, tmp_path / "it", "it")
    assert {fault.field for fault in caught.value.faults} == fields
    assert copies(model.named_parameters()).keys() == before.keys()
    assert all(torch.equal(before[path], parameter) for path, parameter in model.named_parameters())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that stands is left alone, and a name that is taken is refused before anything is read."""
    model = saved(tmp_path / "it")
    before = (tmp_path / "it" / TENSORS).read_bytes()
    with pytest.raises(CheckpointError, match="exists already"):
        save(model, "it", LoRA(rank=2), tmp_path / "it")
    assert (tmp_path / "it" / TENSORS).read_bytes() == before
    with pytest.raises(InputError, match="is on this network already"):
        load(model, tmp_path / "nowhere", "it")


def test_offsets_of_a_base_come_back(tmp_path: Path) -> None:
    """What learned of the base itself is written, and is no part of what the base is known by."""
    model = network(family_of("bert"))
    learned = attach(model, {"it": BitFit()})
    with torch.no_grad():
        for path in learned:
            model.get_parameter(path).add_(1.0)
    save(model, "it", BitFit(), tmp_path / "it")
    fresh = network(family_of("bert"))
    load(fresh, tmp_path / "it", "it")
    assert all(torch.equal(one, other) for one, other in zip(outputs(model), outputs(fresh), strict=True))


def test_several_come_onto_one_base(tmp_path: Path) -> None:
    """Two that were made apart are on one network, each giving what it gave."""
    first, second = saved(tmp_path / "one"), saved(tmp_path / "two", Adapters(width=4))
    both = network(family_of("bert"))
    load(both, tmp_path / "one", "one")
    load(both, tmp_path / "two", "two")
    for name, model in (("one", first), ("two", second)):
        with using(name):
            found = outputs(both)
        assert all(apart(one, other) < FP32 for one, other in zip(outputs(model), found, strict=True))
