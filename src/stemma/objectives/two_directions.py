"""The next token from the left alone, and the one before from the right alone (ELMo)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stemma.errors import Fault
from stemma.objectives.causal import CausalLM
from stemma.objectives.example import Example, Targets
from stemma.objectives.lacking import Need, lacking
from stemma.objectives.objective import Setting
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, Scores, TiedScores, Vectors


@dataclass(frozen=True, kw_only=True)
class TwoDirections(CausalLM):
    """-sum_i log p(x_i | x_<i) - sum_i log p(x_i | x_>i) (Peters et al. 2018, section 3.1).

    A network of one direction learns by the first sum alone (ULMFiT). Tokens are spelt where the network reads
    characters.
    """

    name: ClassVar[str] = "elmo"

    def faults(self, setting: Setting) -> list[Fault]:
        """A recurrent network that scores the vocabulary in each direction, and spellings where it reads them."""
        spec, vocabulary = setting.spec, setting.vocabulary
        if not isinstance(spec, Recurrent):
            return lacking(self.name, [Need(False, "a recurrent network", "use a family such as elmo")])
        width = spec.tokens.max_characters if isinstance(spec.tokens, Characters) else None
        spelt = None if vocabulary.spelt is None else vocabulary.spelt.shape[1]
        scores = spec.head(Scores) or spec.head(TiedScores)
        return lacking(
            self.name,
            [
                Need(scores, "scores of words", f"add Scores({vocabulary.size}) to heads"),
                Need(not isinstance(spec.tokens, Vectors), "tokens that are known", "read Words or Characters"),
                Need(width in (None, spelt), f"spellings of {width} characters", "give Vocabulary.of max_characters"),
            ],
        )

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """As in one direction; what is asked for in the other is what was read before."""
        assert isinstance(setting.spec, Recurrent), "a fault where it is none"
        tokens, spelt = example.tokens, setting.vocabulary.spelt
        asked = super().corrupt(example, setting, draws)
        inputs, targets = {}, {}
        if setting.spec.n_directions == 2:
            places = asked.targets["next"].places
            targets["before"] = Targets(places + 1, tokens[places])
        if isinstance(setting.spec.tokens, Characters):
            assert spelt is not None, "a fault where they are missing"
            inputs["tokens"] = spelt[tokens]
        return asked.change(inputs=inputs, targets=targets)
