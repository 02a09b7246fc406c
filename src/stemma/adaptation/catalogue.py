"""Every adaptation by its kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.adapters import Adapters
from stemma.adaptation.features import Features
from stemma.adaptation.lora import LoRA
from stemma.adaptation.prefix import PrefixTuning
from stemma.adaptation.prompts import PromptTuning, PTuning
from stemma.adaptation.quantised import Quantised
from stemma.adaptation.selections import BitFit, Frozen, Full, TopLayers
from stemma.adaptation.unfreezing import GradualUnfreezing

ADAPTATIONS: Mapping[str, type[Adaptation]] = {
    one.kind: one
    for one in (
        Frozen,
        Features,
        TopLayers,
        Full,
        GradualUnfreezing,
        BitFit,
        Adapters,
        LoRA,
        PromptTuning,
        PTuning,
        PrefixTuning,
        Quantised,
    )
}


def named(adaptations: Iterable[Adaptation]) -> dict[str, Adaptation]:
    """Adaptations by their names: each its kind, and a number where there are several of one.

    >>> list(named([LoRA(rank=4), LoRA(rank=8), BitFit()]))
    ['lora', 'lora-2', 'bitfit']
    """
    found: dict[str, Adaptation] = {}
    for one in adaptations:
        same = sum(other.kind == one.kind for other in found.values())
        found[f"{one.kind}-{same + 1}" if same else one.kind] = one
    return found
