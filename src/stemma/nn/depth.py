"""A trained network, made deeper by stacking its blocks on themselves."""

from __future__ import annotations

import re

from torch import Tensor

from stemma.errors import Fault, InputError
from stemma.nn.model import Model
from stemma.spec.architecture import Architecture
from stemma.spec.parts import EncoderDecoder

_BLOCK = re.compile(r"(?<=^(?:en|de)coder\.blocks\.)\d+(?=\.)")


def deepen(model: Model, removed: int = 8) -> Model:
    """Stack two copies of a network's blocks, without those where they meet (Kim et al. 2023, SOLAR, section 2.1).

    The first copy loses its last blocks and the second its first, so that n layers become 2 (n - removed). Nothing else
    changes: every other parameter is copied as it is. The result shares no memory with the model.

    Args:
        model: of one stack.
        removed: blocks that each copy loses; SOLAR's 8 of 32 make 48.

    Raises:
        InputError: naming everything that stands in the way.

    >>> model = Model(Architecture(n_layers=3, d_model=8, n_heads=2, vocab_size=9))
    >>> deepen(model, removed=1).architecture.n_layers
    4
    """
    spec = model.architecture
    if faults := _faults(spec, removed):
        raise InputError("deepen", faults)
    order = _order(spec, removed)
    weights: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        block = _BLOCK.search(name)
        places = [place for place, old in enumerate(order) if block and old == int(block[0])]
        names = [_BLOCK.sub(str(place), name) for place in places] if block else [name]
        weights |= {name: value.clone() for name in names}
    deeper = Model(spec.change(n_layers=len(order)), seed=None, device="meta")
    deeper.load_state_dict(weights, assign=True)
    return deeper.train(model.training)


def _order(spec: Architecture, removed: int) -> list[int]:
    """The numbers of the blocks as they are stacked."""
    return [*range(spec.n_layers - removed), *range(removed, spec.n_layers)]


def _fits(spec: Architecture, removed: int) -> bool:
    """Whether each block comes to stand where the architecture has its kind: windows and experts may alternate."""
    places = enumerate(_order(spec, removed))
    return all(
        (spec.window(new), spec.has_experts(new)) == (spec.window(old), spec.has_experts(old)) for new, old in places
    )


def _faults(spec: Architecture, removed: int) -> list[Fault]:
    """What stands in the way."""
    faults = []
    if isinstance(spec.stacks, EncoderDecoder):
        faults.append(Fault("stacks", spec.stacks.label, "are two", "deepen a network of one stack"))
    if spec.shared_layers:
        faults.append(Fault("shared_layers", True, "leaves nothing to copy", "build it with a larger n_layers"))
    if spec.top_query:
        faults.append(Fault("top_query", True, "makes the last block unlike the others", "build it without"))
    if spec.modules is not None:
        faults.append(Fault("modules", spec.modules, "are stacks of their own", "build it without"))
    fitting = [n for n in range((spec.n_layers + 1) // 2) if _fits(spec, n)]
    if removed not in fitting:
        rule = f"must leave more than half of {spec.n_layers} blocks in each copy, and each where its kind stands"
        remedy = f"use {', '.join(map(str, fitting))}" if fitting else "deepen another network"
        faults.append(Fault("removed", removed, rule, remedy))
    return faults
