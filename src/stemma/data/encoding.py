"""Many texts -> ids, as fast as exactness allows."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stemma.data.extras import need
from stemma.text import Tokenizer

Flat = tuple[NDArray[np.uint32], NDArray[np.int64]]
"""The ids of several texts, one after the other, and how many each has."""

_EVERY = 256  # of the texts of a batch, how often one is tokenised both ways
_SHORT = 1 << 14  # characters; longer texts are no sample


class Encoder(Protocol):
    """Texts to ids without special tokens; several threads may ask at once."""

    name: str

    def __call__(self, texts: Sequence[str]) -> Flat:
        """The ids of whole texts."""


class Differs(Exception):
    """A fast encoder gave other ids than the tokenizer itself."""


class Plain:
    """The tokenizer itself.

    Args:
        tokenizer: the vocabulary.
    """

    name = "tokenizers"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str]) -> Flat:
        """The ids of whole texts."""
        return flat(self._tokenizer.encode_batch(texts, add_special=False))


class Fast:
    """The package gigatoken, on the texts for which its ids are known to be those of the tokenizer.

    Its Unicode tables may be of another version. So each character is tokenised both ways, in several surroundings,
    when it is first met, and a text with one on which the two differ is left to the tokenizer. All texts of the first
    batch and a sample of each later one are tokenised both ways, too.

    Args:
        tokenizer: the vocabulary.

    Raises:
        Differs: at once where gigatoken has no such vocabulary, later where a text's ids differ.
    """

    name = "gigatoken"

    def __init__(self, tokenizer: Tokenizer) -> None:
        package = need("gigatoken.gigatoken_rs", "fast", "to tokenise faster")
        self._plain = Plain(tokenizer)
        try:
            self._backend: Any = package.load_hf_json(tokenizer.backend.to_str())
        except RuntimeError as error:
            raise Differs(str(error).partition("\n")[0]) from error
        self._every = 1
        self._lock = Lock()
        self._known: set[str] = set()
        self._doubtful: set[str] = set()
        self._meet(set(map(chr, range(128))))

    def __call__(self, texts: Sequence[str]) -> Flat:
        """The ids of whole texts."""
        self._meet(set().union(*(text for text in texts if not text.isascii())))
        safe = [text for text in texts if self._doubtful.isdisjoint(text)] if self._doubtful else texts
        ids = self._encode(safe)
        sample = [number for number in range(0, len(safe), self._every) if len(safe[number]) <= _SHORT]
        self._every = _EVERY
        for number, right in zip(sample, self._encode_plainly([safe[number] for number in sample]), strict=True):
            if not np.array_equal(ids[number], right):
                raise Differs(f"its ids differ for {safe[number][:80]!r}")
        if len(safe) < len(texts):
            fast = iter(ids)
            rest = iter(self._encode_plainly([text for text in texts if not self._doubtful.isdisjoint(text)]))
            ids = [next(fast if self._doubtful.isdisjoint(text) else rest) for text in texts]
        return np.concatenate([*ids, np.empty(0, dtype=np.uint32)]), np.array([len(one) for one in ids], dtype=np.int64)

    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        return list(map(np.asarray, self._backend.encode_batch(list(texts))))

    def _encode_plainly(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        ids, lengths = self._plain(texts)
        return np.split(ids, np.cumsum(lengths))[:-1]

    def _meet(self, characters: set[str]) -> None:
        """Try characters that were not met before."""
        with self._lock:
            new = sorted(characters - self._known)
            probes = [probe for one in new for probe in (one, f"a{one}a {one}{one}1{one}. {one}", f"\n{one} {one}'s")]
            pairs = zip(self._encode(probes), self._encode_plainly(probes), strict=True)
            equal = [np.array_equal(ours, theirs) for ours, theirs in pairs]
            self._doubtful |= {new[number // 3] for number, same in enumerate(equal) if not same}
            self._known |= set(new)


def flat(rows: Sequence[Sequence[int]]) -> Flat:
    """Rows of ids as one array and their lengths."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return np.fromiter(chain.from_iterable(rows), dtype=np.uint32, count=int(lengths.sum())), lengths


def encoders(tokenizer: Tokenizer, fast: bool | None) -> list[type[Fast] | type[Plain]]:
    """What to try, one after the other.

    Args:
        tokenizer: the vocabulary.
        fast: whether to try gigatoken; None: where it is installed and has such vocabularies.
    """
    if fast is None:
        fast = find_spec("gigatoken") is not None and tokenizer.kind in ("bytebpe", "bpe")
    return [Fast, Plain] if fast else [Plain]
