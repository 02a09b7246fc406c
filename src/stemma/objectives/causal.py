"""The next token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stemma.data import Reading
from stemma.errors import Fault
from stemma.objectives.example import Example, Targets
from stemma.objectives.objective import Objective, Setting
from stemma.spec.architecture import Architecture
from stemma.spec.ends import LanguageModelHead
from stemma.spec.parts import Decoder
from stemma.spec.recurrent_parts import Scores, TiedScores, Words


@dataclass(frozen=True, kw_only=True)
class CausalLM(Objective):
    """-sum_i log p(x_i | x_<i), each document by itself (Radford et al. 2018, equation 1).

    Args:
        across: read on over the ends of documents, as GPT-2 and GPT-3 were trained: cheaper, and a little worse.
    """

    name: ClassVar[str] = "causal"
    reads: ClassVar[Reading] = "stream"

    across: bool = False

    def faults(self, setting: Setting) -> list[Fault]:
        """A network reads from left to right, and has a head for the next token."""
        spec = setting.spec
        if isinstance(spec, Architecture):
            able = isinstance(spec.stacks, Decoder) and spec.head(LanguageModelHead) is not None
        else:
            # What is spelt, or a vector, is no id that could be asked for.
            able = isinstance(spec.tokens, Words) and bool(spec.head(Scores) or spec.head(TiedScores))
        if able:
            return []
        return [Fault("objective", self.name, f"is not for a network that is {spec.kind}", "use a decoder's spec")]

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """Nothing is hidden; every token but a document's first is asked for."""
        tokens, documents = example.tokens, example.inputs["documents"]
        places = np.arange(len(tokens) - 1)
        if not self.across:
            places = places[documents[1:] == documents[:-1]]
        ignoring = self.across or not isinstance(setting.spec, Architecture)
        inputs = {"tokens": tokens} if ignoring else example.inputs
        return Example(inputs, {**example.targets, "next": Targets(places, tokens[places + 1])}, example.draws)
