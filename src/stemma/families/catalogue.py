"""Every family that stands in the tree."""

from stemma.errors import Fault, SpecError
from stemma.families.bert import BERT
from stemma.families.gpt import GPT2
from stemma.families.llama import LLAMA, LLAMA2
from stemma.families.seq2seq import T5, T5_V1_1, TRANSFORMER
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Family, diff

_FAMILIES = (TRANSFORMER, BERT, T5, T5_V1_1, GPT2, LLAMA, LLAMA2)


def catalogue() -> tuple[Family, ...]:
    """Every family, parents before their children."""
    return _FAMILIES


def family(name: str) -> Family:
    """The family of this name.

    Raises:
        SpecError: where there is none.

    >>> family("llama2").parent.name
    'llama'
    """
    for known in _FAMILIES:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in _FAMILIES)
    raise SpecError("family", Fault("name", name, "is not in the tree", f"use one of {names}"))


def closest(architecture: Architecture, candidates: tuple[Family, ...] = _FAMILIES) -> Family:
    """The family from which an architecture differs in the fewest fields besides its sizes; the oldest of equals."""

    def distance(known: Family) -> int:
        return len(diff(known.traits, {name: getattr(architecture, name) for name in known.traits}))

    return min(candidates, key=distance)
