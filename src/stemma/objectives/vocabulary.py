"""What objectives know of a tokenizer: ids and the parts that they play."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        sentinels: ids that stand for what was left out, in their order (T5's <extra_id_0>, ...).
        spelt: V x characters; how each token is spelt, for networks that read characters.
    """

    size: int
    roles: Roles
    special: NDArray[np.bool_]
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    sentinels: Ids
    spelt: Ids | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer, *, size: int | None = None, max_characters: int | None = None) -> Vocabulary:
        """What a tokenizer's vocabulary is to an objective.

        Args:
            tokenizer: the vocabulary.
            size: rows of the network's table, where it has more than the tokenizer has ids.
            max_characters: characters of a spelling; None where the network reads ids.
        """
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
            tokenizer.roles,
            np.pad(special, (0, beyond), constant_values=True),
            np.pad(begins | special, (0, beyond)),
            np.pad(ends | special, (0, beyond)),
            np.array([sentinel for sentinel in sentinels if sentinel is not None], dtype=np.int64),
            spelt,
        )

    def words(self, ids: Ids) -> NDArray[np.int64]:
        """The number of the word that each token belongs to, counted within the ids given."""
        first = self.begins[ids]
        first[1:] |= self.ends[ids[:-1]]
        return np.cumsum(first)

    @property
    def ordinary(self) -> Ids:
        """The ids that stand for text."""
        return np.flatnonzero(~self.special)

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
