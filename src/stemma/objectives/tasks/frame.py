"""What a tokenizer puts around a text, or around two: so that any stretch of ids can be framed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer as Backend

from stemma.data import Ids


class Framed(NamedTuple):
    """Ids with what stands around them.

    Args:
        ids: all of them.
        kinds: the segment of each.
        starts: where each text begins among them.
    """

    ids: Ids
    kinds: Ids
    starts: tuple[int, ...]


class TextFrame:
    """Ids before, between and after texts, each with its segment, as a tokenizer's own rule puts them.

    Args:
        backend: the tokenizer.
        n_texts: one or two.
    """

    def __init__(self, backend: Backend, n_texts: int) -> None:
        texts = ("a", "b")[:n_texts]
        whole = backend.encode(texts[0], texts[1] if n_texts == 2 else None)
        ids, kinds = np.array(whole.ids), np.array(whole.type_ids)
        held = np.flatnonzero(~np.array(whole.special_tokens_mask, dtype=bool))
        ends = np.cumsum([len(backend.encode(text, add_special_tokens=False).ids) for text in texts])
        lasts, firsts = held[ends - 1], held[[0, *ends[:-1]]]
        begins, stops = [0, *(lasts + 1)], [*firsts, len(ids)]
        self._around = [(ids[a:b], kinds[a:b]) for a, b in zip(begins, stops, strict=True)]
        self._kinds = kinds[firsts]
        self.before, self.after = self._around[0][0], self._around[-1][0]

    def __len__(self) -> int:
        return sum(len(ids) for ids, _ in self._around)

    def put(self, *texts: Sequence[int]) -> Framed:
        """The frame around texts.

        Args:
            texts: ids of each, as many as it is for.
        """
        inside = [(np.array(ids, dtype=np.int64), kind) for ids, kind in zip(texts, self._kinds, strict=True)]
        ids, kinds = list(self._around[0][0]), list(self._around[0][1])
        starts = []
        for (text, kind), (after, after_kinds) in zip(inside, self._around[1:], strict=True):
            starts.append(len(ids))
            ids += [*text, *after]
            kinds += [*[kind] * len(text), *after_kinds]
        return Framed(np.array(ids, dtype=np.int64), np.array(kinds, dtype=np.int64), tuple(starts))
