"""Blanks of a text that is seen whole, each filled from left to right (GLM)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import numpy as np

from stemma.data import Ids, Reading
from stemma.errors import Fault
from stemma.objectives import needs
from stemma.objectives.example import Example, Targets
from stemma.objectives.lacking import Need, lacking
from stemma.objectives.noises import covered, poisson_lengths, scattered, share_of, unframed
from stemma.objectives.objective import Objective, Setting
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Shape
from stemma.spec.parts import BlockPositions, Decoder


@dataclass(frozen=True, kw_only=True)
class BlankInfilling(Objective):
    """-sum_i log p(s_i | text with blanks, the spans before s_i in a random order) (Du et al. 2022, section 2.1).

    The text, a mask in place of each span, is seen whole. The spans follow it, each after a token that begins it; their
    tokens stand at the place of their blank in one table of positions, and are counted in the other (section 2.3).

    Args:
        level: "span" blanks short spans; "document" one long span of 50% to 100% of the text (section 2.2).
        rate: share of the tokens in short spans.
        mean_span: lambda of the Poisson distribution of their lengths, in tokens; those of length 0 are drawn again.
    """

    name: ClassVar[str] = "glm"
    reads: ClassVar[Reading] = "stream"

    level: Literal["span", "document"] = "span"
    rate: float = 0.15
    mean_span: float = 3.0

    def faults(self, setting: Setting) -> list[Fault]:
        """A decoder with two tables of positions, a mask, and what begins and ends a span."""
        vocabulary = setting.vocabulary
        known = self.level in ("span", "document")
        return lacking(
            self.name,
            [
                needs.stacks(setting.spec, Decoder),
                Need(_blocks(setting.spec), "two tables of positions", "use a family with BlockPositions, such as glm"),
                *needs.roles(vocabulary, "mask"),
                Need(_begin(setting) is not None, "a token to begin a span", "train the tokenizer with the role `bos`"),
                needs.end(vocabulary),
                needs.share("rate", self.rate),
                needs.at_least_one("mean_span", self.mean_span),
                Need(known, f"a level that is known, not {self.level}", "use span or document"),
            ],
        )

    def takes(self, length: int) -> int:
        """So few tokens that their frame, the masks and the tokens that begin spans find room too."""
        return _fitting(self, length)

    def usual_spans(self, n: int) -> int:
        """More spans than a text of n tokens has but for one in ten thousand."""
        if self.level == "document":
            return 1
        mean = self.rate * n * -math.expm1(-self.mean_span) / self.mean_span
        return math.ceil(mean + 2 * math.sqrt(mean))

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """The text with blanks, then what they hide."""
        vocabulary, frame = setting.vocabulary, setting.vocabulary.frame
        text = unframed(example.tokens, frame)[: self.takes(setting.length)]
        lengths = self._lengths(len(text), setting, draws)
        starts = scattered(draws, lengths, len(text))
        kept = np.insert(~covered(starts, starts + lengths, len(text)), starts, True)
        seen = np.insert(text, starts, needs.held(vocabulary.roles.mask))[kept]
        # Before each mask stand the tokens that are kept and the masks of the spans before it.
        masks = len(frame.before) + starts - (lengths.cumsum() - lengths) + np.arange(len(lengths))
        first = np.concatenate((frame.before, seen, frame.after)).astype(np.int64)

        begin = needs.held(_begin(setting))
        order = draws.permutation(len(lengths))
        spans = [text[start : start + length] for start, length in zip(starts[order], lengths[order], strict=True)]
        written = _joined([np.insert(span, 0, begin) for span in spans])
        asked = _joined([np.append(span, frame.after) for span in spans])
        block = _joined([np.arange(len(span) + 1) + 1 for span in spans])
        blank = np.repeat(masks[order], lengths[order] + 1)
        places = np.stack((np.append(np.arange(len(first)), blank), np.append(np.zeros(len(first), np.int64), block)))
        inputs = {"tokens": np.append(first, written), "prefix": np.array(len(first)), "places": places}
        return Example(inputs, {"text": Targets(len(first) + np.arange(len(asked)), asked)})

    def _lengths(self, n: int, setting: Setting, draws: np.random.Generator) -> Ids:
        """Of the spans of a text, no longer than their table and no more than there is room for."""
        if self.level == "document":
            lengths = np.array([share_of(n, draws.uniform(0.5, 1.0))])
        else:
            lengths = poisson_lengths(draws, min(max(1, share_of(n, self.rate)), n), self.mean_span, least=1)
        blocks = _blocks(setting.spec)
        assert blocks is not None, "a fault where there are none"
        room = (setting.length - n - 2) // 2
        return lengths[:room].clip(max=blocks.max_block - 2)


@cache
def _fitting(objective: BlankInfilling, length: int) -> int:
    """The tokens of a text that fills a row; its frame has two."""
    fits = (n for n in range(length, 0, -1) if n + 2 + 2 * objective.usual_spans(n) <= length)
    return next(fits, 1)


def _blocks(spec: Shape) -> BlockPositions | None:
    position = spec.position if isinstance(spec, Architecture) else None
    return position if isinstance(position, BlockPositions) else None


def _begin(setting: Setting) -> int | None:
    roles = setting.vocabulary.roles
    return roles.cls if roles.bos is None else roles.bos


def _joined(parts: list[Ids]) -> Ids:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
