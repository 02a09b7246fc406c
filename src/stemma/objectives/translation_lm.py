"""Masked tokens of a sentence and its translation, each told from both (XLM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stemma.data import Reading, Row
from stemma.objectives.example import Example
from stemma.objectives.masked import MaskedLM
from stemma.objectives.objective import Setting
from stemma.objectives.pairs import fitted, framed
from stemma.spec.architecture import Architecture


@dataclass(frozen=True, kw_only=True)
class TranslationLM(MaskedLM):
    """Masked language modelling of two sentences side by side (Conneau and Lample 2019, section 3.3).

    Each token has its language's vector where there is one. Positions run on through both sentences, as they do in
    `transformers`; the authors let them begin anew, which only restarts with a document here, whose tokens do not see
    those of another.
    """

    name: ClassVar[str] = "tlm"
    reads: ClassVar[Reading] = "pairs"

    def arrange(self, row: Row, setting: Setting, draws: np.random.Generator) -> Example:
        """Both sentences, each in its frame."""
        frame, room = setting.vocabulary.frame, setting.length - 2 * len(setting.vocabulary.frame)
        both = [[framed(part, frame) for part in fitted(piece.parts, room)] for piece in row.pieces]
        lengths = [[len(part) for part in parts] for parts in both]
        inputs = {
            "tokens": np.concatenate([part for parts in both for part in parts]),
            "documents": np.repeat(np.arange(len(both)), [sum(pair) for pair in lengths]),
        }
        if isinstance(setting.spec, Architecture) and setting.spec.embedding.languages:
            spoken = [language for piece in row.pieces for language in piece.languages]
            inputs["languages"] = np.repeat(spoken, [length for pair in lengths for length in pair])
        return Example(inputs)
