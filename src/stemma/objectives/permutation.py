"""Some of a text's tokens, in an order of their own (XLNet)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stemma.errors import Fault
from stemma.objectives import needs
from stemma.objectives.example import Example, Targets
from stemma.objectives.lacking import lacking
from stemma.objectives.noises import covered
from stemma.objectives.objective import Objective, Setting
from stemma.spec.parts import Permutation


@dataclass(frozen=True, kw_only=True)
class PermutationLM(Objective):
    """-sum_t log p(x_z_t | x_z_<t, context), for an order z of some of the tokens (Yang et al. 2019, section 2.3).

    Each span that is predicted stands somewhere in a context that is 1 / rate times as long, as in the authors' code.
    The others see one another and are seen by all; a predicted token sees them and what precedes it in the order. The
    order is drawn over the whole row; the authors draw it for halves, for the sake of a history that they carry over.

    Args:
        rate: share of the tokens that are predicted; 1 / K in section 2.3.
        max_span: longest span, in tokens; all lengths up to it are as likely.
    """

    name: ClassVar[str] = "plm"

    rate: float = 1 / 6
    max_span: int = 5

    def faults(self, setting: Setting) -> list[Fault]:
        """A stack that reads permutations, and a head."""
        return lacking(
            self.name,
            [
                needs.stacks(setting.spec, Permutation),
                needs.share("rate", self.rate),
                needs.at_least_one("max_span", self.max_span),
            ],
        )

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """Nothing is hidden by other tokens; ranks say what sees what."""
        tokens = example.tokens
        places = np.flatnonzero(self._chosen(len(tokens), draws) & ~setting.vocabulary.special[tokens])
        ranks = np.full(len(tokens), -1)
        ranks[places] = draws.permutation(len(places))
        return example.change(inputs={"ranks": ranks}, targets={"permuted": Targets(places, tokens[places])})

    def _chosen(self, n: int, draws: np.random.Generator) -> NDArray[np.bool_]:
        """Spans, one in each context."""
        lengths = draws.integers(1, self.max_span + 1, size=n)
        contexts = (lengths / self.rate + 1e-9).astype(np.int64)
        ends = contexts.cumsum()
        starts = ends - contexts + draws.integers(contexts - lengths + 1)
        return covered(starts.clip(max=n), (starts + lengths).clip(max=n), n)
