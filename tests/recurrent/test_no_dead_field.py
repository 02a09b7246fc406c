"""No field of a recurrent architecture is dead: another value changes the parameters or what the network gives."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from stemma.nn import RecurrentModel, RecurrentOutput
from stemma.spec import Recurrent
from stemma.spec.recurrent_parts import (
    Apart,
    Characters,
    Joined,
    ProjectedLSTM,
    RecurrentDropout,
    ScalarMix,
    Scores,
    TiedScores,
    Vectors,
    Words,
)


def named(output: RecurrentOutput) -> dict[str, torch.Tensor]:
    """All that a pass gave for each position."""
    given = {name: getattr(output, name) for name in ("hidden", "logits", "backward_logits", "mixed")}
    layers = {f"layer {number}": layer for number, layer in enumerate(output.layers)}
    return layers | {name: value for name, value in given.items() if value is not None}


TRAINED = dict(dropout=RecurrentDropout(input=0.3, weight=0.3, hidden=0.3, output=0.3))
ALIVE = Recurrent(tokens=Words(11, 6), widths=(8, 6), heads=(TiedScores(),), **TRAINED)  # type: ignore[arg-type]
SPELT = Recurrent(
    tokens=Characters(6, ((1, 3), (2, 4)), 1, d_character=5, max_characters=6),
    widths=(8, 8),
    cell=ProjectedLSTM(6, 0.5, 0.1),
    directions=Apart(),
    heads=(ScalarMix(), Scores(11)),
)


def choices() -> list[Any]:
    """Each field of each part with another value, found by looking at the types."""
    found = []
    for base in (ALIVE, SPELT):
        for field in ("tokens", "cell", "directions", *(["dropout"] if base is ALIVE else [])):
            part = getattr(base, field)
            for entry in fields(part):
                value = getattr(part, entry.name)
                for other in (not value if isinstance(value, bool) else None, *OTHERS.get(entry.name, ())):
                    if other is not None and other != value:
                        changed = {field: replace(part, **{entry.name: other})}
                        found.append(pytest.param(base, changed, id=f"{type(part).__name__}.{entry.name}"))
        found += [pytest.param(base, {"heads": heads}, id=f"heads {heads}") for heads in HEADS[type(base.tokens)]]
        found.append(pytest.param(base, {"widths": (7, 6)}, id="widths"))
    found.append(pytest.param(ALIVE.change(heads=()), {"directions": Joined()}, id="joined"))
    found.append(pytest.param(ALIVE, {"directions": Apart()}, id="apart"))
    found.append(pytest.param(ALIVE, {"cell": ProjectedLSTM(6)}, id="projected"))
    found.append(pytest.param(ALIVE.change(heads=(), dropout=RecurrentDropout()), {"tokens": Vectors(6)}, id="vectors"))
    return found


OTHERS: dict[str, tuple[Any, ...]] = {
    "vocab_size": (13,),
    "filters": (((1, 3), (2, 5)), ((1, 3), (3, 4))),
    "n_highway": (0, 2),
    "n_characters": (200,),
    "d_character": (4,),
    "activation": ("tanh",),
    "max_characters": (5,),
    "cell_clip": (0.01, None),
    "projection_clip": (0.01, None),
    **dict.fromkeys(("embedding", "input", "weight", "hidden", "output"), (0.6,)),
}
HEADS: dict[type, tuple[Any, ...]] = {
    Words: ((), (TiedScores(bias=False),), (Scores(11),)),
    Characters: ((Scores(11),), (ScalarMix(norm=True), Scores(11)), (ScalarMix(), Scores(11, bias=False))),
}


def behaviour(spec: Recurrent) -> dict[str, torch.Tensor]:
    """Parameters and outputs for one seed, as evaluated and as trained."""
    model = RecurrentModel(spec, seed=1)
    shown = {f"parameters {name}": value for name, value in model.state_dict().items()}
    if isinstance(spec.tokens, Characters):
        codes = torch.arange(4 * spec.tokens.max_characters) * 7 % (spec.tokens.n_characters - 1) + 1
        tokens = codes.view(1, 4, -1)
    else:
        tokens = torch.arange(12)[None] % 11
    tokens = torch.randn(1, 5, 6) if isinstance(spec.tokens, Vectors) else tokens
    for mode in ("eval", "train"):
        model.train(mode == "train")
        torch.manual_seed(1)
        with torch.no_grad():
            shown |= {f"{mode} {name}": value for name, value in named(model(tokens)).items()}
    return shown


def differ(first: Recurrent, second: Recurrent) -> bool:
    left, right = behaviour(first), behaviour(second)
    return left.keys() != right.keys() or any(not torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(("base", "changes"), choices())
def test_no_field_is_dead(base: Recurrent, changes: dict[str, Any]) -> None:
    assert differ(base, base.change(**changes))


def test_what_is_equal_behaves_equally() -> None:
    """Or else the test above could not fail."""
    assert not differ(ALIVE, ALIVE)
    assert not differ(SPELT, SPELT)
