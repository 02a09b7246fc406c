"""Answers as a teacher gave them (Vicuna, Orca)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stemma.data import Reading, Row
from stemma.errors import Fault
from stemma.objectives import needs
from stemma.objectives.example import Example, Targets
from stemma.objectives.lacking import lacking
from stemma.objectives.objective import Objective, Setting
from stemma.objectives.pairs import framed
from stemma.spec.parts import Decoder


@dataclass(frozen=True, kw_only=True)
class Imitation(Objective):
    """-sum_i log p(a_i | prompt, a_<i), of the answer and its end alone (Mukherjee et al. 2023, Orca, section 3.3).

    Of a pair that is longer than a row, the prompt's beginning is cut first, then the answer's end.
    """

    name: ClassVar[str] = "imitation"
    reads: ClassVar[Reading] = "pairs"

    def faults(self, setting: Setting) -> list[Fault]:
        """A decoder, and a token that ends an answer."""
        return lacking(self.name, [needs.stacks(setting.spec, Decoder), needs.end(setting.vocabulary)])

    def arrange(self, row: Row, setting: Setting, draws: np.random.Generator) -> Example:
        """Prompt and answer in one frame; each pair is a document."""
        frame = setting.vocabulary.frame
        texts, asked, begin = [], [], 0
        for prompt, answer in (piece.parts for piece in row.pieces):
            answer = answer[: setting.length - len(frame)]
            prompt = prompt[max(0, len(prompt) + len(answer) - (setting.length - len(frame))) :]
            text = framed(np.concatenate((prompt, answer)), frame)
            first = max(1, len(frame.before) + len(prompt))
            asked.append(begin + np.arange(first, len(text)) - 1)
            texts.append(text)
            begin += len(text)
        tokens, places = np.concatenate(texts), np.concatenate(asked)
        documents = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
        return Example({"tokens": tokens, "documents": documents}, {"next": Targets(places, tokens[places + 1])})
