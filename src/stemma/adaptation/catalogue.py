"""Every adaptation by its kind."""

from __future__ import annotations

from collections.abc import Mapping

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
