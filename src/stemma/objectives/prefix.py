"""The rest of a text, after its beginning was read whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stemma.data import Reading
from stemma.errors import Fault
from stemma.objectives import needs
from stemma.objectives.example import Example, Targets
from stemma.objectives.lacking import lacking
from stemma.objectives.objective import Objective, Setting
from stemma.objectives.two_stacks import answered
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Shape
from stemma.spec.parts import Decoder, EncoderDecoder


@dataclass(frozen=True, kw_only=True)
class PrefixLM(Objective):
    """-sum_{i > k} log p(x_i | x_<i), where the first k tokens see one another (Raffel et al. 2020, 3.2.1, 3.3.1).

    The length k is drawn from 1 to n - 1. An encoder reads the beginning where there is one, and the decoder the rest.
    """

    name: ClassVar[str] = "prefix"
    reads: ClassVar[Reading] = "pieces"

    def faults(self, setting: Setting) -> list[Fault]:
        """A decoder writes the rest; beside an encoder it has a token to begin with."""
        if _is_pair(setting.spec):
            return lacking(self.name, [needs.stacks(setting.spec, EncoderDecoder), needs.start(setting.vocabulary)])
        return lacking(self.name, [needs.stacks(setting.spec, Decoder)])

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """The row is cut in two; the second part is asked for."""
        tokens = example.tokens
        cut = int(draws.integers(1, max(len(tokens), 2)))
        rest = tokens[cut:]
        if not _is_pair(setting.spec):
            inputs = {"tokens": tokens, "prefix": np.array(cut)}
            return Example(inputs, {"next": Targets(np.arange(cut, len(tokens)) - 1, rest)})
        ended = np.append(tokens[:cut], np.array(setting.vocabulary.frame.after, dtype=np.int64))
        return answered(ended, rest, setting.vocabulary)


def _is_pair(spec: Shape) -> bool:
    return isinstance(spec, Architecture) and isinstance(spec.stacks, EncoderDecoder)
