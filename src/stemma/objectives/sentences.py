"""Two segments in a row: does the second follow, and which came first?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stemma.data import Ids, Reading, Row
from stemma.errors import Fault
from stemma.objectives import needs
from stemma.objectives.example import Example, Targets
from stemma.objectives.lacking import Need, has, lacking
from stemma.objectives.objective import Objective, Setting
from stemma.objectives.vocabulary import Vocabulary
from stemma.spec.architecture import Architecture
from stemma.spec.ends import NextSentenceHead

_MARKS = 3  # [CLS], and a [SEP] after either segment


@dataclass(frozen=True, kw_only=True)
class _Segments(Objective):
    """[CLS] A [SEP] B [SEP], about which one question is asked."""

    reads: ClassVar[Reading] = "neighbours"
    arranges: ClassVar[bool] = True
    term: ClassVar[str]

    def faults(self, setting: Setting) -> list[Fault]:
        """There are tokens that frame segments, vectors that tell them apart, and a head that judges them."""
        spec = setting.spec
        apart = isinstance(spec, Architecture) and spec.embedding.segments >= 2
        return lacking(
            self.name,
            [
                *needs.roles(setting.vocabulary, "cls", "sep"),
                Need(apart, "vectors of two segments", "use an Embedding with segments=2"),
                Need(has(spec, NextSentenceHead), "a head for two segments", "add Pooler() and NextSentenceHead()"),
                Need(setting.length > _MARKS + 1, f"rows of more than {_MARKS + 1} tokens", "use longer rows"),
            ],
        )

    def weights(self) -> dict[str, float]:
        """Its term's own weight, whatever shares the pass."""
        return {self.term: 1.0}

    def _beside(self, first: Ids, second: Ids, answer: int, setting: Setting) -> Example:
        """The segments in their frame, and what is right."""
        roles = setting.vocabulary.roles
        cls, sep = np.array([[roles.cls], [roles.sep]], dtype=np.int64)
        tokens = np.concatenate((cls, first, sep, second, sep))
        segments = np.repeat([0, 1], [len(first) + 2, len(second) + 1])
        asked = Targets(np.zeros(1, dtype=np.int64), np.array([answer]))
        return Example({"tokens": tokens, "segments": segments}, {self.term: asked})


@dataclass(frozen=True, kw_only=True)
class NextSentence(_Segments):
    """-log p(y | A, B): is B what follows A (0), or from another document (1)? (Devlin et al. 2019, section 3.1).

    A text is cut at a word's beginning rather than a sentence's. Either B has the same length, so that none tells.

    Args:
        strangers: the share of rows whose second segment is from another document.
    """

    name: ClassVar[str] = "nsp"
    term: ClassVar[str] = "sentence"

    strangers: float = 0.5

    def faults(self, setting: Setting) -> list[Fault]:
        """As of any two segments."""
        return super().faults(setting) + lacking(self.name, [needs.share("strangers", self.strangers)])

    def arrange(self, row: Row, setting: Setting, draws: np.random.Generator) -> Example:
        """A beginning, and what follows it or something else."""
        own, other = (piece.ids for piece in row.pieces)
        cut = _cut(own, setting.vocabulary, draws)
        stranger = other[_cut(other, setting.vocabulary, draws) :]
        first, rest = own[:cut], own[cut:][: len(stranger)]
        answer = int(draws.random() < self.strangers)
        return self._beside(*_fit(first, stranger[: len(rest)] if answer else rest, setting.length), answer, setting)


@dataclass(frozen=True, kw_only=True)
class SentenceOrder(_Segments):
    """-log p(y | A, B): do two neighbours stand in their order (0), or not (1)? (Lan et al. 2020, section 3.1)."""

    name: ClassVar[str] = "sop"
    term: ClassVar[str] = "order"

    def arrange(self, row: Row, setting: Setting, draws: np.random.Generator) -> Example:
        """Both parts of a text, one way round or the other."""
        own = row.pieces[0].ids
        cut = _cut(own, setting.vocabulary, draws)
        answer = int(draws.integers(2))
        parts = _fit(own[:cut], own[cut:], setting.length)
        return self._beside(*(parts[::-1] if answer else parts), answer, setting)


def _cut(ids: Ids, vocabulary: Vocabulary, draws: np.random.Generator) -> int:
    """A place at which a word begins, with a token on either side; the middle where there is none."""
    words = vocabulary.words(ids)
    places = np.flatnonzero(words[1:] != words[:-1]) + 1
    return int(draws.choice(places)) if len(places) else len(ids) // 2


def _fit(first: Ids, second: Ids, length: int) -> tuple[Ids, Ids]:
    """Both cut to a row, the longer one more: the end of the first stays, and the beginning of the second."""
    room = length - _MARKS
    kept = max(room - len(second), min(len(first), room // 2))
    first = first[max(len(first) - kept, 0) :]
    return first, second[: room - len(first)]
