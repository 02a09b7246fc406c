"""Any part on any family: each alternative is taken, counted and run, or refused with its reason."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pytest
import torch

from stemma.errors import SpecError
from stemma.spec import (
    Alternating,
    Architecture,
    BlockPositions,
    Experts,
    Family,
    Full,
    Learned,
    RelativeBuckets,
    SlidingWindow,
    count,
)

from ..tiny import LONGEST, each_family, random_model, random_tokens, results, run, tiny

# Alternatives whose fields have no defaults.
EXAMPLES: dict[type, Any] = {
    Learned: Learned(LONGEST),
    BlockPositions: BlockPositions(LONGEST, 5),
    RelativeBuckets: RelativeBuckets(8, 12),
    SlidingWindow: SlidingWindow(4),
    Alternating: Alternating((Full(), SlidingWindow(4))),
    Experts: Experts(3, 2),
}
SWITCHES = ("position", "norm", "placement", "attention", "feedforward", "experts", "shared_layers")
# What may not be combined, and how the refusal begins.
REFUSED = ("needs a decoder alone", "needs stacks", "cannot serve two streams", "contradicts blocks that differ")


def alternatives(name: str) -> list[Any]:
    """Every value that a switch has, of each class the usual one."""
    hint = get_type_hints(Architecture)[name]
    if hint is bool:
        return [True, False]
    kinds = [kind for kind in get_args(hint) or (hint,) if is_dataclass(kind)]
    return [EXAMPLES[kind] if kind in EXAMPLES else kind() for kind in kinds]


@pytest.mark.slow
@each_family
@pytest.mark.parametrize("name", SWITCHES)
def test_every_family_takes_every_part(family: Family, name: str) -> None:
    usual, taken, refusals = tiny(family), 0, []
    for part in alternatives(name):
        try:
            # Whatever a head's width is, each position scheme can turn or halve it.
            architecture = usual.change(**{name: part, "d_head": 12})
        except SpecError as error:
            refusals += [fault.rule for fault in error.faults]
            continue
        taken += 1
        model = random_model(architecture)
        assert sum(parameter.numel() for parameter in model.parameters()) == count.parameters(architecture)
        tokens = random_tokens(2, 9)
        found = results(run(model, tokens))
        assert found
        assert all(torch.isfinite(value).all() for value in found.values())
    assert taken
    assert all(rule.startswith(REFUSED) for rule in refusals), refusals


def test_every_switch_is_a_field() -> None:
    assert set(SWITCHES) <= {field.name for field in fields(Architecture)}
    assert all(len(alternatives(name)) >= 1 for name in SWITCHES)
