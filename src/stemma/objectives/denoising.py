"""A text from what noise has left of it (BART)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from stemma.data import Ids, Reading
from stemma.errors import Fault
from stemma.objectives import needs
from stemma.objectives.example import Example
from stemma.objectives.lacking import Need, lacking
from stemma.objectives.noises import covered, poisson_lengths, scattered, share_of
from stemma.objectives.objective import Objective, Setting
from stemma.objectives.two_stacks import answered
from stemma.objectives.vocabulary import Vocabulary
from stemma.spec.parts import EncoderDecoder

Noise = Literal["mask", "delete", "infill", "permute", "rotate"]


@dataclass(frozen=True, kw_only=True)
class Denoising(Objective):
    """The encoder reads a document with noise, the decoder writes it as it was (Lewis et al. 2020, section 2.2).

    - "mask": tokens are replaced by the mask.
    - "delete": tokens are left out.
    - "infill": spans of words are replaced by one mask each; one of length 0 is a mask that is put in.
    - "permute": sentences change places.
    - "rotate": the document begins at another of its tokens.

    Args:
        noises: which, in their order; the usual ones are those of the published models (section 3).
        rate: share of the tokens, or of the words, that each of the first three falls on.
        mean_span: lambda of the Poisson distribution of lengths, in words as in the authors' code.
    """

    name: ClassVar[str] = "bart"
    reads: ClassVar[Reading] = "pieces"

    noises: tuple[Noise, ...] = ("permute", "infill")
    rate: float = 0.3
    mean_span: float = 3.0

    def faults(self, setting: Setting) -> list[Fault]:
        """Two stacks, a start token, and a mask for the noises that use one."""
        unknown = [noise for noise in self.noises if noise not in NOISES]
        return lacking(
            self.name,
            [
                needs.stacks(setting.spec, EncoderDecoder),
                needs.start(setting.vocabulary),
                *needs.roles(setting.vocabulary, *(["mask"] if {"mask", "infill"} & {*self.noises} else [])),
                needs.share("rate", self.rate),
                needs.at_least_one("mean_span", self.mean_span),
                Need(not unknown, f"noises that are known, not {unknown}", f"use some of {', '.join(NOISES)}"),
            ],
        )

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """Noise falls on what stands between the marks of the document's ends."""
        tokens = example.tokens
        inside = np.flatnonzero(~np.isin(tokens, (*setting.vocabulary.frame.before, *setting.vocabulary.frame.after)))
        first, last = (inside[0], inside[-1] + 1) if len(inside) else (0, 0)
        text = tokens[first:last]
        for noise in self.noises:
            text = NOISES[noise](self, text, setting.vocabulary, draws)
        return answered(np.concatenate((tokens[:first], text, tokens[last:])), tokens, setting.vocabulary)


def _mask(options: Denoising, text: Ids, vocabulary: Vocabulary, draws: np.random.Generator) -> Ids:
    masked = text.copy()
    masked[_some(options, text, draws)] = needs.held(vocabulary.roles.mask)
    return masked


def _delete(options: Denoising, text: Ids, vocabulary: Vocabulary, draws: np.random.Generator) -> Ids:
    return np.delete(text, _some(options, text, draws))


def _infill(options: Denoising, text: Ids, vocabulary: Vocabulary, draws: np.random.Generator) -> Ids:
    words = vocabulary.words(text)
    edges = np.append(np.flatnonzero(np.diff(words, prepend=-1)), len(text))
    n_words = len(edges) - 1
    lengths = poisson_lengths(draws, share_of(n_words, options.rate), options.mean_span, least=0)
    # A text never grows: no more masks are put in than tokens are saved.
    saved = int((lengths[lengths > 0] - 1).sum())
    lengths = lengths[(lengths > 0) | ((lengths == 0).cumsum() <= saved)]
    starts = scattered(draws, lengths, n_words)
    begins, ends = edges[starts], edges[starts + lengths]
    kept = np.insert(~covered(begins, ends, len(text)), begins, True)
    return np.insert(text, begins, needs.held(vocabulary.roles.mask))[kept]


def _permute(options: Denoising, text: Ids, vocabulary: Vocabulary, draws: np.random.Generator) -> Ids:
    sentences = np.split(text, vocabulary.sentence_begins(text)[1:])
    return np.concatenate([sentences[number] for number in draws.permutation(len(sentences))])


def _rotate(options: Denoising, text: Ids, vocabulary: Vocabulary, draws: np.random.Generator) -> Ids:
    return np.roll(text, -draws.integers(max(1, len(text))))


def _some(options: Denoising, text: Ids, draws: np.random.Generator) -> Ids:
    return draws.choice(len(text), share_of(len(text), options.rate), replace=False)


NOISES: Mapping[str, Callable[[Denoising, Ids, Vocabulary, np.random.Generator], Ids]] = {
    "mask": _mask,
    "delete": _delete,
    "infill": _infill,
    "permute": _permute,
    "rotate": _rotate,
}
"""What each noise makes of a text."""
