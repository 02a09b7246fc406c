"""Depth up-scaling: the blocks of a trained network stacked on themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stemma import deepen
from stemma.checkpoints import Stored, read_folder, write_folder
from stemma.errors import InputError
from stemma.families import ALBERT, BERT, GPT3, MISTRAL, MIXTRAL, SOLAR, T5, XLNET
from stemma.families.ernie import ERNIE3
from stemma.families.pangu import PANGU_ALPHA
from stemma.generation import Greedy, ModelStepper, search
from stemma.nn import Model
from stemma.spec import Family, count
from stemma.spec.architecture import SIZE_FIELDS

from ..tiny import apart, random_model, random_tokens, run, tiny


def block(model: Model, number: int) -> dict[str, torch.Tensor]:
    """The parameters of one block of its only stack."""
    stack = model.decoder or model.encoder
    assert stack is not None
    return dict(stack.blocks[number].named_parameters())


def rest(model: Model) -> dict[str, torch.Tensor]:
    """The parameters of no block."""
    return {name: value for name, value in model.named_parameters() if "coder.blocks." not in name}


@pytest.mark.parametrize("family", [MISTRAL, SOLAR, MIXTRAL, BERT, XLNET], ids=lambda family: family.name)
@pytest.mark.parametrize(("removed", "order"), [(0, [0, 1, 2, 0, 1, 2]), (1, [0, 1, 1, 2])])
def test_every_parameter_is_copied_bit_for_bit(family: Family, removed: int, order: list[int]) -> None:
    model = random_model(tiny(family))
    deeper = deepen(model, removed)
    assert deeper.architecture == model.architecture.change(n_layers=len(order))
    pairs = [(rest(deeper), rest(model)), *((block(deeper, new), block(model, old)) for new, old in enumerate(order))]
    for copied, original in pairs:
        assert copied.keys() == original.keys()
        assert all(torch.equal(value, original[name]) for name, value in copied.items())
    places = [value.data_ptr() for one in (model, deeper) for value in one.parameters()]
    assert len(places) == len(set(places))


def test_a_deeper_network_runs_its_blocks_in_order() -> None:
    """Its hidden states are those of the first copy, and then those of the second on top of them."""
    model = random_model(tiny(SOLAR))
    deeper, tokens = deepen(model, 1), random_tokens(2, 9)
    hiddens, deep = (run(one, tokens, hiddens=True).hiddens for one in (model, deeper))
    assert hiddens is not None
    assert deep is not None
    assert [apart(a, b) for a, b in zip(hiddens[:3], deep[:3], strict=True)] == [0, 0, 0]
    assert apart(hiddens[3], deep[3]) > 1e-3


def test_mistral_becomes_solar() -> None:
    """SOLAR's own settings differ from those of the released Mistral in the window alone."""
    deeper = deepen(Model(MISTRAL.build("7B"), seed=None, device="meta"))
    solar = SOLAR.build("10.7B")
    assert [getattr(deeper.architecture, name) for name in SIZE_FIELDS] == [getattr(solar, n) for n in SIZE_FIELDS]
    assert deeper.architecture.change(attention=solar.attention) == solar
    assert sum(parameter.numel() for parameter in deeper.parameters()) == count.parameters(solar)


def test_a_deeper_model_learns_generates_and_reopens(tmp_path: Path) -> None:
    model = random_model(tiny(SOLAR)).to(torch.float64).train()
    deeper = deepen(model, 1)
    assert deeper.training
    assert all(parameter.requires_grad for parameter in deeper.parameters())
    deeper.eval()
    prompt = random_tokens(1, 5)[0].tolist()
    ((found,),) = search(ModelStepper(deeper), [prompt], Greedy(), max_new_tokens=4)
    written = list(found.tokens)
    logits = run(deeper, torch.tensor([prompt + written[:-1]])).logits
    assert logits is not None
    assert written == logits[0, -len(written) :].argmax(-1).tolist()
    write_folder(Stored(SOLAR, deeper), tmp_path / "deeper")
    opened = read_folder(tmp_path / "deeper", dtype=torch.float64).model
    assert opened.architecture == deeper.architecture
    again = dict(opened.named_parameters())
    assert all(torch.equal(value, again.pop(name)) for name, value in deeper.named_parameters())
    assert not again


@pytest.mark.parametrize(
    ("family", "changes", "removed", "words"),
    [
        (T5, {}, 1, ("stacks='encoder-decoder' are two", "one stack")),
        (ALBERT, {}, 1, ("shared_layers=True leaves nothing to copy",)),
        (PANGU_ALPHA, {}, 1, ("top_query=True",)),
        (ERNIE3, {}, 1, ("modules=TaskModules(",)),
        (SOLAR, {}, 8, ("removed=8 must leave more than half of 3 blocks in each copy", "use 0, 1")),
        (SOLAR, {}, -1, ("removed=-1", "use 0, 1")),
        # Blocks of two kinds in turn stay in turn where an even number comes between a block and its copy.
        (GPT3, {}, 1, ("removed=1", "each where its kind stands; deepen another network")),
        (GPT3, dict(n_layers=6), 3, ("removed=3", "use 0, 1, 2")),
        (ALBERT, {}, 8, ("2 faults", "shared_layers", "removed=8")),
    ],
)
def test_what_cannot_be_deepened_is_named(
    family: Family, changes: dict[str, Any], removed: int, words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match=r"^deepen: ") as caught:
        deepen(Model(tiny(family, **changes), seed=None, device="meta"), removed)
    assert all(word in str(caught.value) for word in words), caught.value
