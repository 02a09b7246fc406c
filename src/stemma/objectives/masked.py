"""Masked tokens, whole words and spans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from stemma.data import Ids
from stemma.errors import Fault
from stemma.objectives import needs
from stemma.objectives.example import Example, Targets
from stemma.objectives.lacking import Need, has, lacking
from stemma.objectives.objective import Objective, Setting
from stemma.objectives.stretches import Stretches, Words, choose, places_of
from stemma.objectives.vocabulary import Vocabulary
from stemma.spec.architecture import Architecture
from stemma.spec.ends import MaskedLMHead, SpanBoundaryHead
from stemma.spec.lineage import Shape


@dataclass(frozen=True, kw_only=True)
class MaskedLM(Objective):
    """-sum_{i in M} log p(x_i | x without M), tokens M drawn at random (Devlin et al. 2019, section 3.1).

    Args:
        rate: the share of a text's tokens that are asked for.
        shares: of these, those that are seen as the mask, as another token, and as what they are.
        replacement: how that other token is drawn: each alike, as in BERT's code, or as often as it occurs.
        exact: ask for round(rate n) of n tokens and at least one, as BERT's code does; else for each token, or each
            word, by itself with the probability `rate`.
    """

    name: ClassVar[str] = "mlm"
    together: ClassVar[bool] = False
    """Whether the tokens of one stretch are all masked, all replaced or all left."""

    rate: float = 0.15
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    replacement: Literal["uniform", "unigram"] = "uniform"
    exact: bool = True

    def faults(self, setting: Setting) -> list[Fault]:
        """There is a mask, and a head for what stands behind it."""
        vocabulary, spec = setting.vocabulary, setting.spec
        whole = min(self.shares) >= 0 and abs(sum(self.shares) - 1) < 1e-9
        known = self.replacement in ("uniform", "unigram")
        counted = self.replacement != "unigram" or vocabulary.frequencies is not None
        return lacking(
            self.name,
            [
                *needs.roles(vocabulary, "mask"),
                Need(
                    has(spec, MaskedLMHead) or _modules(spec), "a head for masked tokens", "add MaskedLMHead() to heads"
                ),
                needs.share("rate", self.rate),
                Need(whole, f"shares={self.shares} to be shares of 1", "use such as (0.8, 0.1, 0.1)"),
                Need(known, f"replacement={self.replacement!r} to be known", "use uniform or unigram"),
                Need(counted, "the frequencies of tokens", "give them by Vocabulary.with_frequencies"),
            ],
        )

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """Some tokens are hidden and asked for."""
        return self.hide(example, self.choose(example, setting, draws), setting.vocabulary, draws)

    def choose(self, example: Example, setting: Setting, draws: np.random.Generator) -> Stretches:
        """What is asked for; never a special token."""
        free = np.flatnonzero(~setting.vocabulary.special[example.tokens])
        starts = np.sort(draws.permutation(free)[: self.budget(len(free), draws)])
        return np.stack((starts, starts + 1), axis=1)

    def budget(self, n_tokens: int, draws: np.random.Generator, least: int = 1) -> int:
        """How many tokens are asked for.

        Args:
            n_tokens: there are.
            draws: the source of a number that is not exact.
            least: the fewest of an exact number.
        """
        return max(round(self.rate * n_tokens), least) if self.exact else int(draws.binomial(n_tokens, self.rate))

    def hide(
        self, example: Example, stretches: Stretches, vocabulary: Vocabulary, draws: np.random.Generator
    ) -> Example:
        """Ask for the tokens of stretches, of which the network sees something else."""
        numbers, inside = places_of(stretches)
        places = stretches[numbers, 0] + inside
        fates = draws.random(len(stretches))[numbers] if self.together else draws.random(len(places))
        masked, other, _ = self.shares
        mask = vocabulary.roles.mask
        assert mask is not None, "a fault where there is none"
        replaced = places[(fates >= masked) & (fates < masked + other)]
        seen = example.tokens.copy()
        seen[places[fates < masked]] = mask
        seen[replaced] = self._others(len(replaced), vocabulary, draws)
        return example.change(inputs={"tokens": seen}, targets={"masked": Targets(places, example.tokens[places])})

    def _others(self, number: int, vocabulary: Vocabulary, draws: np.random.Generator) -> Ids:
        if self.replacement == "uniform":
            return draws.choice(vocabulary.ordinary, number)
        cumulated = vocabulary.cumulated
        assert cumulated is not None, "a fault where they are missing"
        return cumulated.searchsorted(draws.integers(cumulated[-1], size=number), side="right")

    def given(self, spec: Shape) -> Mapping[str, Any]:
        """Task modules are told that the text is read both ways (Sun et al. 2021, 3.2.2)."""
        return {"understanding": True} if _modules(spec) else {}


@dataclass(frozen=True, kw_only=True)
class WholeWordLM(MaskedLM):
    """The same, where all tokens of a word are asked for or none (BERT's code of May 2019)."""

    name: ClassVar[str] = "whole-word"

    def choose(self, example: Example, setting: Setting, draws: np.random.Generator) -> Stretches:
        """Words."""
        words = Words.of(example, setting.vocabulary)
        if not self.exact:
            return np.stack((words.starts, words.stops), axis=1)[draws.random(len(words)) < self.rate]
        return choose(words, self._budget_of(words, draws), np.ones(len(words), dtype=np.int64), draws)

    def _budget_of(self, words: Words, draws: np.random.Generator) -> int:
        return self.budget(int(words.sizes.sum()), draws, least=int(words.sizes.min(initial=1)))


@dataclass(frozen=True, kw_only=True)
class SpanLM(WholeWordLM):
    """The same with runs of words, all masked, all replaced or all left (SpanBERT: Joshi et al. 2020, section 3.1).

    A run has l words with a probability in proportion to p (1 - p)^(l - 1), up to the longest. Where the network has a
    head for it, each token is asked for a second time, from the two tokens that stand around its run and from its
    place in it: -sum_i log p(x_i | x_{s-1}, x_{e+1}, i - s + 1) (section 3.2).

    Args:
        p: the probability that a run ends after each word.
        longest: words of a run.
    """

    name: ClassVar[str] = "span"
    together: ClassVar[bool] = True

    p: float = 0.2
    longest: int = 10

    def faults(self, setting: Setting) -> list[Fault]:
        """As of masked words; the boundary objective is left out where there is no head for it."""
        values = [needs.share("p", self.p), needs.at_least_one("longest", self.longest)]
        return super().faults(setting) + lacking(self.name, values)

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """Some runs of words are hidden and asked for."""
        stretches = self.choose(example, setting, draws)
        hidden = self.hide(example, stretches, setting.vocabulary, draws)
        head = setting.spec.head(SpanBoundaryHead) if isinstance(setting.spec, Architecture) else None
        return hidden if head is None else _with_boundaries(hidden, example.tokens, stretches, head)

    def choose(self, example: Example, setting: Setting, draws: np.random.Generator) -> Stretches:
        """Runs of words, with a word that is seen between any two."""
        words = Words.of(example, setting.vocabulary)
        chances = (1 - self.p) ** np.arange(self.longest)
        lengths = draws.choice(self.longest, len(words), p=chances / chances.sum()) + 1
        return choose(words, self._budget_of(words, draws), lengths, draws, apart=True)


def _with_boundaries(hidden: Example, tokens: Ids, stretches: Stretches, head: SpanBoundaryHead) -> Example:
    """Ask again for what stands in stretches that have a token on either side, as far as the head has places."""
    inner = stretches[(stretches[:, 0] > 0) & (stretches[:, 1] < len(tokens))]
    numbers, inside = places_of(inner)
    read = inside < head.max_span
    places = np.stack((numbers, inside), axis=1)[read]
    asked = Targets(places, tokens[(inner[numbers, 0] + inside)[read]])
    return hidden.change(inputs={"spans": inner + np.array([-1, 0])}, targets={"boundaries": asked})


def _modules(spec: Shape) -> bool:
    return isinstance(spec, Architecture) and spec.modules is not None
