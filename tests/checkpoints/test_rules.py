"""Tables of rules, run both ways."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stemma.checkpoints.rules import Info, make_plan
from stemma.errors import CheckpointError
from stemma.spec.mapping import Ignore, Permute, Rename, Split, Tie, WeightRule, Zero


class Held:
    """Tensors in memory."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.infos = {name: Info(tuple(tensor.shape), tensor.is_floating_point()) for name, tensor in tensors.items()}

    def read(self, name: str) -> Tensor:
        return self.tensors[name]


TABLE: tuple[WeightRule, ...] = (
    Rename("embeddings", "@", {"token": "wte"}),
    Split("blocks.*.attention", "@h.*.qkv", ("query", "key"), transposed=True),
    Rename("blocks.*.attention", "@h.*", {"output": "proj"}, transposed=True),
    Permute("blocks.*.rotary", "@h.*", {"a": "rot_a", "b": "rot_b"}, {"a": "n_heads", "b": "n_kv_heads"}),
    Rename("norm", "@ln"),
    Rename("heads.lm.bias", "final_bias", row=True),
    Rename("heads.lm", "lm_head"),
    Tie("lm_head.weight", "@wte.weight"),
    Tie("copy.*.weight", "@h.*.proj.weight"),
    Ignore("@h.*.mask"),
    Zero("final_bias", (1, "vocab_size")),
)
SIZES = {"n_heads": 3, "n_kv_heads": 1, "vocab_size": 7}


def ours(bias: bool = False) -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {"embeddings.token.weight": (7, 4), "norm.weight": (4,), "norm.bias": (4,)}
    for n in range(2):
        shapes[f"blocks.{n}.attention.query.weight"] = (6, 4)
        shapes[f"blocks.{n}.attention.query.bias"] = (6,)
        shapes[f"blocks.{n}.attention.key.weight"] = (2, 4)
        shapes[f"blocks.{n}.attention.key.bias"] = (2,)
        shapes[f"blocks.{n}.attention.output.weight"] = (4, 6)
        shapes[f"blocks.{n}.rotary.a.weight"] = (12, 5)
        shapes[f"blocks.{n}.rotary.a.bias"] = (12,)
        shapes[f"blocks.{n}.rotary.b.weight"] = (4, 5)
    if bias:
        shapes["heads.lm.bias"] = (7,)
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_written_and_read_again_is_the_same(prefix: str, bias: bool) -> None:
    before = ours(bias)
    plan = make_plan(shapes(before), TABLE, sizes=SIZES, prefix=prefix)
    theirs = dict(plan.write(before))
    assert not plan.faults(Held(theirs).infos)
    after = dict(plan.read(Held(theirs)))
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert theirs["final_bias"].shape == (1, 7)
    assert bool(theirs["final_bias"].any()) == bias


def test_each_rule_puts_each_number_where_it_belongs() -> None:
    before = ours()
    theirs = dict(make_plan(shapes(before), TABLE, sizes=SIZES, prefix="m.").write(before))
    assert torch.equal(theirs["m.h.1.proj.weight"], before["blocks.1.attention.output.weight"].T)
    fused = torch.cat([before["blocks.1.attention.query.weight"], before["blocks.1.attention.key.weight"]])
    assert torch.equal(theirs["m.h.1.qkv.weight"], fused.T)
    assert torch.equal(theirs["m.h.0.qkv.bias"][6:], before["blocks.0.attention.key.bias"])
    # A head of four rows, its halves (0, 1) and (2, 3), is stored as 0, 2, 1, 3.
    rotary, head = theirs["m.h.0.rot_a.weight"], before["blocks.0.rotary.a.weight"]
    assert torch.equal(rotary[4:8], head[4:8][[0, 2, 1, 3]])
    assert set(theirs) == {
        "m.wte.weight",
        "m.ln.weight",
        "m.ln.bias",
        "final_bias",
        *(f"m.h.{n}.{name}" for n in range(2) for name in ("qkv.weight", "qkv.bias", "proj.weight", "rot_a.weight")),
        *(f"m.h.{n}.{name}" for n in range(2) for name in ("rot_a.bias", "rot_b.weight")),
    }


def test_copies_and_buffers_are_consumed_and_checked() -> None:
    before = ours()
    plan = make_plan(shapes(before), TABLE, sizes=SIZES)
    theirs = dict(plan.write(before))
    theirs |= {"h.1.mask": torch.ones(9, dtype=torch.bool), "copy.0.weight": theirs["h.0.proj.weight"].clone()}
    theirs["lm_head.weight"] = theirs["wte.weight"].clone()
    theirs["lm_head.weight"][0, 0] = theirs["wte.weight"][0, 0] = float("nan")
    assert not plan.faults(Held(theirs).infos)
    assert len(dict(plan.read(Held(theirs)))) == len(before)
    theirs["lm_head.weight"][0, 0] = 1.0
    theirs["copy.0.weight"] += 1
    theirs["final_bias"][0, 3] = 1
    with pytest.raises(CheckpointError) as caught:
        dict(plan.read(Held(theirs)))
    assert {fault.field for fault in caught.value.faults} == {"lm_head.weight", "copy.0.weight", "final_bias"}


def test_a_copy_is_read_where_the_original_is_absent() -> None:
    before = ours()
    plan = make_plan(shapes(before), TABLE, sizes=SIZES)
    theirs = dict(plan.write(before))
    theirs["lm_head.weight"] = theirs.pop("wte.weight")
    assert not plan.faults(Held(theirs).infos)
    assert torch.equal(dict(plan.read(Held(theirs)))["embeddings.token.weight"], before["embeddings.token.weight"])


@given(st.data())
def test_any_wrong_tensor_is_named(data: st.DataObject) -> None:
    before = ours()
    plan = make_plan(shapes(before), TABLE, sizes=SIZES)
    theirs = dict(plan.write(before))
    gone = data.draw(st.sets(st.sampled_from(sorted(set(theirs) - {"final_bias"})), max_size=3))
    bent = data.draw(st.sets(st.sampled_from(sorted(set(theirs) - gone)), max_size=3))
    more = data.draw(st.sets(st.text("abc.", min_size=1, max_size=8), max_size=3)) - set(theirs)
    broken = {name: tensor for name, tensor in theirs.items() if name not in gone}
    broken |= {name: torch.zeros(*broken[name].shape, 2) for name in bent} | dict.fromkeys(more, torch.zeros(1))
    assert {fault.field for fault in plan.faults(Held(broken).infos)} == gone | bent | more


def test_a_parameter_without_a_rule_is_named() -> None:
    with pytest.raises(CheckpointError) as caught:
        make_plan({"norm.weight": (4,), "odd.weight": (2,), "blocks.0.attention.query.gain": (2,)}, TABLE, sizes=SIZES)
    assert [fault.field for fault in caught.value.faults] == ["odd.weight", "blocks.0.attention.query.gain"]


def test_two_parameters_for_one_tensor_are_named() -> None:
    table = (Rename("a", "x"), Rename("b", "x"))
    with pytest.raises(CheckpointError, match=r"is written where a\.weight is"):
        make_plan({"a.weight": (1,), "b.weight": (1,)}, table, sizes={})


def test_the_first_rule_that_matches_wins_and_names_match_whole_words() -> None:
    table = (Rename("a.*", "first.*", {"norm": "n"}), Rename("*.b", "second.*"), Rename("a", "third"))
    plan = make_plan({"a.0.norm.weight": (1,), "a.b.weight": (1,), "a.normal": (1,)}, table, sizes={})
    assert [entry.theirs for entry in plan.entries] == ["first.0.n.weight", "second.a.weight", "third.normal"]


def test_a_written_tie_is_written_unless_there_is_no_original() -> None:
    table = (Rename("a", "x"), Rename("b", "y"), Tie("x2.bias", "x.bias", written=True))
    tensors = {"a.bias": torch.ones(2), "b.bias": torch.zeros(2)}
    assert set(dict(make_plan(shapes(tensors), table, sizes={}).write(tensors))) == {"x.bias", "y.bias", "x2.bias"}
    del tensors["a.bias"]
    assert set(dict(make_plan(shapes(tensors), table, sizes={}).write(tensors))) == {"y.bias"}
