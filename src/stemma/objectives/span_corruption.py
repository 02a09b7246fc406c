"""Spans left out of a text, each behind a mark of its own (T5)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np

from stemma.data import Ids, Reading
from stemma.errors import Fault
from stemma.objectives import needs
from stemma.objectives.example import Example
from stemma.objectives.lacking import Need, lacking
from stemma.objectives.noises import segments, share_of, unframed
from stemma.objectives.objective import Objective, Setting
from stemma.objectives.two_stacks import answered
from stemma.spec.parts import EncoderDecoder


class Spans(NamedTuple):
    """How a text of some length is corrupted.

    Args:
        n_hidden: tokens that are left out.
        n_spans: that they form.
    """

    n_hidden: int
    n_spans: int


@dataclass(frozen=True, kw_only=True)
class SpanCorruption(Objective):
    """The encoder reads a text whose spans are replaced by sentinels; the decoder writes each sentinel and its span.

    Raffel et al. 2020, section 3.1.4, as in the authors' code: texts begin with a token that is kept and end with a
    span, so that no last sentinel is needed (`random_spans_noise_mask`).

    Args:
        rate: share of the tokens that are left out.
        mean_span: mean length of a span, in tokens.
    """

    name: ClassVar[str] = "t5"
    reads: ClassVar[Reading] = "stream"

    rate: float = 0.15
    mean_span: float = 3.0

    def faults(self, setting: Setting) -> list[Fault]:
        """Two stacks, a start, an end and a sentinel for every span."""
        vocabulary = setting.vocabulary
        found = lacking(
            self.name,
            [
                needs.stacks(setting.spec, EncoderDecoder),
                needs.start(vocabulary),
                needs.end(vocabulary),
                needs.share("rate", self.rate),
                needs.at_least_one("mean_span", self.mean_span),
            ],
        )
        if found:
            return found
        n_spans = self.spans(self.takes(setting.length)).n_spans
        enough = Need(
            n_spans <= len(vocabulary.sentinels), f"{n_spans} sentinels", "add <extra_id_0>, ... to the vocabulary"
        )
        return lacking(self.name, [enough])

    def takes(self, length: int) -> int:
        """As many tokens as are just `length` when corrupted, the end counted (`compute_input_and_target_lengths`)."""
        return _fitting(self, length)

    def spans(self, n: int) -> Spans:
        """How a text of n tokens is corrupted.

        >>> SpanCorruption().spans(568)
        Spans(n_hidden=85, n_spans=28)
        """
        n_hidden = min(max(1, share_of(n, self.rate)), n - 1)
        return Spans(n_hidden, min(max(1, round(n_hidden / self.mean_span)), n - n_hidden))

    def left(self, n: int) -> int:
        """Length of a text of n tokens, at least 2, when it is corrupted."""
        n_hidden, n_spans = self.spans(n)
        return n - n_hidden + n_spans + 1

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """Spans change places with sentinels."""
        text = unframed(example.tokens, setting.vocabulary.frame)[: self.takes(setting.length)]
        read, answer = self._parted(text, setting.vocabulary.sentinels, draws)
        end = setting.vocabulary.frame.after
        return answered(np.append(read, end), np.append(answer, end), setting.vocabulary)

    def _parted(self, text: Ids, sentinels: Ids, draws: np.random.Generator) -> tuple[Ids, Ids]:
        """What is kept and what is left out, with a sentinel wherever the other one goes on."""
        if len(text) < 2:
            return text, text[:0]
        n_hidden, n_spans = self.spans(len(text))
        kept, hidden = segments(draws, len(text) - n_hidden, n_spans), segments(draws, n_hidden, n_spans)
        lengths = np.stack((kept, hidden), 1).ravel()
        is_hidden = np.repeat(np.tile([False, True], n_spans), lengths)
        begins = lengths.cumsum() - lengths
        marked = np.insert(text, begins[1::2], sentinels[:n_spans])
        read, answer = (marked[np.insert(part, begins[1::2], True)] for part in (~is_hidden, is_hidden))
        return read, answer


@cache
def _fitting(objective: SpanCorruption, length: int) -> int:
    n = 1
    while objective.left(n + 1) <= length:
        n += 1
    return n
