"""What objectives know of a tokenizer: ids and the parts that they play."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stemma.data import Frame, Ids
from stemma.text import Roles, Tokenizer, spell


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A vocabulary as arrays over its ids.

    Args:
        size: how many ids there are.
        roles: which of them have a part to play.
        special: V; True at ids that stand for no text, which no objective corrupts or predicts as a replacement.
        begins: V; True at tokens with which a word begins, whatever precedes them.
        ends: V; True at tokens after which a word begins.
        stops: V; True at tokens that end a sentence, such as a full stop.
        sentinels: ids that stand for what was left out, in their order (T5's <extra_id_0>, ...).
        spelt: V x characters; how each token is spelt, for networks that read characters.
        start: with which a decoder beside an encoder begins.
        frequencies: V; how often each token was counted in a sample of the corpus.
    """

    size: int
    roles: Roles
    special: NDArray[np.bool_]
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    stops: NDArray[np.bool_]
    sentinels: Ids
    spelt: Ids | None = None
    start: int | None = None
    frequencies: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        *,
        size: int | None = None,
        max_characters: int | None = None,
        start: int | None = None,
    ) -> Vocabulary:
        """What a tokenizer's vocabulary is to an objective.

        Args:
            tokenizer: the vocabulary.
            size: rows of the network's table, where it has more than the tokenizer has ids.
            max_characters: characters of a spelling; None where the network reads ids.
            start: with which a decoder begins; where not given padding, as T5's, or the end of a text where there is
                also a beginning, as BART's.
        """
        roles = tokenizer.roles
        held = len(tokenizer)
        texts = [tokenizer.token_of(token) for token in range(held)]
        special = np.array([token in tokenizer.special for token in range(held)])
        begins, ends = _edges(tokenizer.kind, texts)
        sentinels = [tokenizer.id_of(f"<extra_id_{number}>") for number in range(held)[:1000]]
        spelt = None
        if max_characters is not None:
            spelt = np.array([spell(tokenizer.text_of(token), max_characters) for token in range(held)])
        beyond = max(size or 0, held) - held
        return cls(
            held + beyond,
            roles,
            np.pad(special, (0, beyond), constant_values=True),
            np.pad(begins | special, (0, beyond)),
            np.pad(ends | special, (0, beyond)),
            np.pad([_stops(tokenizer.text_of(token)) for token in range(held)], (0, beyond)),
            np.array([sentinel for sentinel in sentinels if sentinel is not None], dtype=np.int64),
            spelt,
            start if start is not None else roles.pad if roles.bos is None else roles.eos,
        )

    def with_frequencies(self, sample: Iterable[Ids]) -> Vocabulary:
        """The same with its tokens counted, for replacements that are drawn as often as tokens occur.

        Args:
            sample: ids of texts.
        """
        counts = np.zeros(self.size, dtype=np.int64)
        for ids in sample:
            counts += np.bincount(ids, minlength=self.size)
        return replace(self, frequencies=np.where(self.special, 0, counts))

    def words(self, ids: Ids) -> NDArray[np.int64]:
        """The number of the word that each token belongs to, counted within the ids given."""
        first = self.begins[ids]
        first[1:] |= self.ends[ids[:-1]]
        return np.cumsum(first)

    def sentence_begins(self, ids: Ids) -> Ids:
        """Where sentences begin: at the first token, and after each stop that is the last of its kind in a run."""
        stops = self.stops[ids]
        return np.concatenate(([0], np.flatnonzero(stops[:-1] & ~stops[1:]) + 1))

    @cached_property
    def ordinary(self) -> Ids:
        """The ids that stand for text."""
        return np.flatnonzero(~self.special)

    @cached_property
    def cumulated(self) -> NDArray[np.int64] | None:
        """V; how often a token up to this one was counted."""
        return None if self.frequencies is None else self.frequencies.cumsum()

    @property
    def frame(self) -> Frame:
        """What stands around a text, as the model whose roles these are expects it."""
        roles = self.roles
        if roles.cls is not None and roles.sep is not None:
            return Frame((roles.cls,), (roles.sep,))
        before = () if roles.bos is None or roles.bos == roles.eos else (roles.bos,)
        return Frame(before, () if roles.eos is None else (roles.eos,))


def _edges(kind: str, texts: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """At which tokens words begin, and after which."""
    none = np.zeros(len(texts), dtype=bool)
    if kind == "wordpiece":
        return np.array([not text.startswith("##") for text in texts]), none
    if any(text.endswith("</w>") for text in texts):
        return none, np.array([text.endswith("</w>") for text in texts])
    return np.array([text[:1] in ("Ġ", "▁", "Ċ") for text in texts]), none


def _stops(text: str) -> bool:
    """Whether a sentence ends with a token that reads so, quotation marks apart."""
    return text.strip(" \"'”’»)").endswith((".", "!", "?", "…", "。", "！", "？"))
