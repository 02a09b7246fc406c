"""Every objective by its name."""

from __future__ import annotations

from collections.abc import Mapping

from stemma.errors import Fault, InputError
from stemma.objectives.blanks import BlankInfilling
from stemma.objectives.causal import CausalLM
from stemma.objectives.denoising import Denoising
from stemma.objectives.distillation import Distillation
from stemma.objectives.imitation import Imitation
from stemma.objectives.masked import MaskedLM, SpanLM, WholeWordLM
from stemma.objectives.neighbours import Neighbours
from stemma.objectives.objective import Objective
from stemma.objectives.permutation import PermutationLM
from stemma.objectives.prefix import PrefixLM
from stemma.objectives.replaced import ReplacedTokens
from stemma.objectives.sentences import NextSentence, SentenceOrder
from stemma.objectives.span_corruption import SpanCorruption
from stemma.objectives.translation import Translation
from stemma.objectives.translation_lm import TranslationLM
from stemma.objectives.two_directions import TwoDirections

OBJECTIVES: Mapping[str, type[Objective]] = {
    kind.name: kind
    for kind in (
        CausalLM,
        PrefixLM,
        MaskedLM,
        WholeWordLM,
        SpanLM,
        NextSentence,
        SentenceOrder,
        ReplacedTokens,
        PermutationLM,
        SpanCorruption,
        Denoising,
        BlankInfilling,
        TranslationLM,
        TwoDirections,
        Translation,
        Imitation,
        Distillation,
        Neighbours,
    )
}


def objective(name: str) -> type[Objective]:
    """The objective of this name.

    Args:
        name: such as "mlm".

    Raises:
        InputError: where there is none.

    >>> objective("mlm")()
    MaskedLM(weight=1.0, copies=None, rate=0.15, shares=(0.8, 0.1, 0.1), replacement='uniform', exact=True)
    """
    if name not in OBJECTIVES:
        raise InputError("objective", Fault("name", name, "is no objective", f"use {', '.join(OBJECTIVES)}"))
    return OBJECTIVES[name]
