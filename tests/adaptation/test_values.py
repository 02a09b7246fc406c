"""Each adaptation by itself: what it computes, what learns by it, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from stemma.adaptation import (
    Adaptation,
    Adapters,
    BitFit,
    Frozen,
    Full,
    GradualUnfreezing,
    Learning,
    LoRA,
    TopLayers,
    attach,
    detach,
    merge,
    names,
    roles,
    unmerge,
    using,
)
from stemma.errors import InputError

from ..tiny import apart, random_tokens
from ..tolerances import FP32
from .choices import disturb, family_of, network, outputs


def bert(**parts: Any) -> Any:
    """A small encoder."""
    return network(family_of("bert"))


def _bottleneck(model: Any, path: str, read: torch.Tensor) -> torch.Tensor:
    part = {name: model.get_parameter(f"{path}.changes.it.{name}") for name in ("down", "down_bias", "up", "up_bias")}
    inner = functional.gelu(read @ part["down"].T + part["down_bias"])
    return inner @ part["up"].T + part["up_bias"]


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer", "parallel"])
def test_adapters_are_where_the_papers_have_them(placement: Any) -> None:
    """A block of BERT, written out: Houlsby's figure 2, Pfeiffer's section 2.2, He's parallel form."""
    model = bert()
    attach(model, {"it": Adapters(width=5, placement=placement, scale=1.0 if placement == "houlsby" else 2.0)})
    disturb(model, "it")
    block = model.encoder.blocks[1]
    x = torch.randn(2, 7, 20, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), using():
        from stemma.nn.masks import Scores

        plain = block.attention(x, Scores())
    with torch.no_grad():
        path = "encoder.blocks.1"
        attended = plain + _bottleneck(model, f"{path}.attention.output", plain) if placement == "houlsby" else plain
        x = block.attention_norm(x + attended)
        with using():
            fed = block.feedforward(x)
        read = x if placement == "parallel" else fed
        fed = fed + (1.0 if placement == "houlsby" else 2.0) * _bottleneck(model, f"{path}.feedforward", read)
        expected = block.feedforward_norm(x + fed)
        from stemma.nn.blocks import Surroundings

        x = torch.randn(2, 7, 20, generator=torch.Generator().manual_seed(1))
        assert apart(block(x, Surroundings(Scores())), expected) < FP32


def test_lora_is_its_equation() -> None:
    """W + (alpha / rank) B A, or alpha / sqrt(rank); the norms of rows learned apart where it is decomposed."""
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(1))
    for options, scale in (({}, 10 / 4), ({"scaling": "rank_stabilised"}, 5.0), ({"decomposed": True}, 10 / 4)):
        model = bert()
        linear = model.encoder.blocks[0].attention.query
        attach(model, {"it": LoRA(rank=4, alpha=10.0, targets=("query",), **options)})
        disturb(model, "it")
        change = linear.changes["it"]
        weight = linear.weight + scale * change.up @ change.down
        if "decomposed" in options:
            weight = change.magnitude[:, None] * weight / weight.norm(dim=1, keepdim=True)
        assert apart(linear(x), x @ weight.T + linear.bias) < FP32


def test_ranks_and_alphas_are_by_role() -> None:
    """Each target has the rank and scale of the last that names it."""
    model = bert()
    value = LoRA(rank=4, alpha=8.0, targets=("query", "up"), ranks={"query": 2, "0.*.query": 3}, alphas={"up": 2.0})
    attach(model, {"it": value})
    shapes = {
        path: (tuple(linear.changes["it"].down.shape), linear.changes["it"].scale)
        for path, linear in roles(model, ("query", "up")).items()
    }
    assert shapes["encoder.blocks.0.attention.query"] == ((3, 20), 8 / 3)
    assert shapes["encoder.blocks.1.attention.query"] == ((2, 20), 4.0)
    assert shapes["encoder.blocks.2.feedforward.up"] == ((4, 20), 0.5)


def test_dropout_is_on_the_change_alone() -> None:
    """In training the change's input is dropped; in evaluation nothing is."""
    model = bert()
    linear = model.encoder.blocks[0].attention.query
    attach(model, {"it": LoRA(rank=2, targets=("query",), dropout=0.5)})
    disturb(model, "it")
    x = torch.ones(1, 4, 20)
    quiet = linear.eval()(x)
    assert torch.equal(quiet, linear(x))
    noisy = linear.train()(x)
    assert not torch.equal(quiet, noisy)
    with using():
        assert torch.equal(linear(x), linear.eval()(x))


@pytest.mark.parametrize(
    ("family", "top"),
    [("t5", "decoder.blocks.1."), ("ernie3", "task_modules."), ("gpt2", "decoder.blocks.2."), ("elmo", "layers.1.")],
)
def test_blocks_learn_from_the_top(family: str, top: str) -> None:
    """The last block of the stack that runs last learns first, with what stands above; the embeddings come last."""
    model = network(family_of(family))
    learned = attach(model, {"it": TopLayers(layers=1)})
    assert learned
    assert all(path.startswith((top, "heads.", "decoder.norm.")) for path in learned)
    assert any(path.startswith(top) for path in learned)
    assert "embeddings" not in {path.partition(".")[0] for path in learned}
    more = attach(model, {"more": TopLayers(layers=1, embeddings=True)})
    assert {path.partition(".")[0] for path in set(more) - set(learned)} >= {"embeddings"}


def test_gradual_unfreezing_is_the_papers() -> None:
    """Each block learns 2.6 times more slowly than the one above, and begins later."""
    learned = attach(network(family_of("ulmfit")), {"it": GradualUnfreezing(until=0.8)})
    assert learned["heads.lm.bias"] == Learning(1.0, 0.0)
    layers = [learned[f"layers.{layer}.0.weight_input"] for layer in (2, 1, 0)]
    assert [layer.rate for layer in layers] == pytest.approx([1 / 2.6, 1 / 2.6**2, 1 / 2.6**3])
    assert [layer.begins for layer in layers] == pytest.approx([0.2, 0.4, 0.6])
    assert learned["embeddings.weight"].begins == pytest.approx(0.8)


def test_heads_of_a_task_learn_always() -> None:
    """Named heads learn whatever the adaptation is; unknown ones are refused."""
    model = bert()
    learned = attach(model, {"it": Frozen()}, heads=["mlm"])
    assert learned
    assert all(path.startswith("heads.mlm.") for path in learned)
    with pytest.raises(InputError, match="is no head of this network"):
        attach(model, {"more": Frozen()}, heads=["rating"])


def test_full_tuning_leaves_what_others_added() -> None:
    """What another adaptation added is not the network's own."""
    model = bert()
    attach(model, {"one": LoRA()})
    learned = attach(model, {"two": Full()})
    assert learned
    assert not any(".changes." in path for path in learned)


WRONG: list[tuple[str, Adaptation, set[str]]] = [
    ("bert", LoRA(rank=0, alpha=-1.0, targets=("qwery",), dropout=1.0), {"rank", "alpha", "targets", "dropout"}),
    ("bert", LoRA(targets=(), ranks={"query": 0}), {"targets", "ranks.query"}),
    ("bert", LoRA(ranks={"up": 2}, alphas={"down": 2.0}), {"ranks", "alphas"}),
    ("bert", LoRA(scaling="other"), {"scaling"}),  # type: ignore[arg-type]
    (
        "bert",
        Adapters(width=0, placement="left", activation="none", scale=0.0),
        {"width", "placement", "activation", "scale"},
    ),  # type: ignore[arg-type]
    ("elmo", LoRA(), {"targets"}),
    ("elmo", Adapters(), {"placement"}),
    ("llama", BitFit(), {"offsets"}),
    ("bert", TopLayers(layers=4), {"layers"}),
    ("bert", GradualUnfreezing(decay=0.5, until=2.0), {"decay", "until"}),
]


@pytest.mark.parametrize(("family", "value", "fields"), WRONG)
def test_all_faults_are_told_at_once(family: str, value: Adaptation, fields: set[str]) -> None:
    """Every wrong value is named, with those of the other adaptations and of names; the network stays as it was."""
    model = network(family_of(family))
    before = {path for path, _ in model.named_parameters()}
    with pytest.raises(InputError) as caught:
        attach(model, {"good": Full(), "it": value, "a.b": Full()})
    assert {fault.field for fault in caught.value.faults} == {f"it.{field}" for field in fields} | {"name"}
    assert {path for path, _ in model.named_parameters()} == before


def test_names_are_given_once() -> None:
    """A name that is taken, by an adaptation or by the library, is refused."""
    model = bert()
    attach(model, {"it": LoRA()})
    with pytest.raises(InputError, match="is on this network already"):
        attach(model, {"it": LoRA()})
    with pytest.raises(InputError, match="is taken by the library"):
        attach(model, {"forward": LoRA()})
    with pytest.raises(InputError, match="nothing that was added"):
        detach(model, "other")


def test_adapters_cannot_be_merged() -> None:
    """No matrix has their effect, which the error says; nothing is merged then."""
    model = bert()
    attach(model, {"it": Adapters(), "low": LoRA()})
    before = outputs(model)
    with pytest.raises(InputError, match="no matrix has the effect"):
        merge(model, "it")
    assert all(torch.equal(one, other) for one, other in zip(before, outputs(model), strict=True))


def test_threads_choose_for_themselves() -> None:
    """Two threads run one network at the same time, each with its own adaptation."""
    model = bert()
    tokens = random_tokens(2, 9)
    attach(model, {"one": LoRA(rank=2), "two": Adapters(width=3)})
    disturb(model, "one")
    disturb(model, "two")
    expected, found = {}, {}
    for name in ("one", "two"):
        with using(name), torch.no_grad():
            expected[name] = model(tokens).hidden
    entered = threading.Barrier(2)

    def ask(name: str) -> None:
        with using(name), torch.no_grad():
            entered.wait()
            found[name] = model(tokens).hidden
            entered.wait()

    threads = [threading.Thread(target=ask, args=(name,)) for name in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not torch.equal(expected["one"], expected["two"])


def test_a_copy_is_a_network_of_its_own() -> None:
    """A deep copy has the adaptation too, and is merged and freed of it by itself."""
    model = bert()
    attach(model, {"it": LoRA(rank=2, decomposed=True)})
    disturb(model, "it")
    before = outputs(model)
    copy = deepcopy(model)
    merge(copy, "it")
    unmerge(copy, "it")
    assert all(torch.equal(one, other) for one, other in zip(before, outputs(copy), strict=True))
    detach(copy, "it")
    assert (names(copy), names(model)) == ((), ("it",))
    assert all(torch.equal(one, other) for one, other in zip(before, outputs(model), strict=True))


def test_half_precision_bases_learn_in_single() -> None:
    """What is added to a bfloat16 network is float32, and the outputs keep their type."""
    model = bert().to(torch.bfloat16)
    before = outputs(model)
    attach(model, {"low": LoRA(targets=("*",)), "norms": LoRA(decomposed=True), "narrow": Adapters()})
    assert {part.dtype for path, part in model.named_parameters() if ".changes." in path} == {torch.float32}
    after = outputs(model)
    assert {value.dtype for value in after} == {torch.bfloat16}
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.slow
def test_compiled_as_it_is() -> None:
    """A compiled network runs with all its adaptations as one graph, and with those that are chosen."""
    program = Path(__file__).with_name("compiled.py")
    told = subprocess.run([sys.executable, program], check=True, capture_output=True, text=True).stdout
    assert max(json.loads(told).values()) < 10 * FP32
