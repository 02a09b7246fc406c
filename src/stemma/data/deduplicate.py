"""Documents that came before, or nearly so."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stemma.data.sources import Document, Repeats

SIMILAR = 0.8
"""The share of shingles in common from which two documents count as similar."""
_SHINGLE = 5
_BANDS, _ROWS = 32, 4
_BLOCK = 4096

_MULTIPLIERS, _ADDENDS = np.random.Generator(np.random.Philox(1997)).integers(
    0, 2**64, (2, _BANDS * _ROWS, 1), dtype=np.uint64
)


class Sieve(Protocol):
    """Tells new documents from those that came before.

    Documents are signed anywhere, in any order; the signatures then pass the sieve in the documents' order.
    """

    def sign(self, documents: Sequence[Document]) -> NDArray[Any]:
        """A row of numbers for each document, that depends on nothing else."""

    def new(self, signatures: NDArray[Any]) -> NDArray[np.bool_]:
        """For each signature, whether nothing like it came before."""


class Kept:
    """Lets everything pass."""

    def sign(self, documents: Sequence[Document]) -> NDArray[Any]:
        """Rows without numbers."""
        return np.empty((len(documents), 0), dtype=np.uint64)

    def new(self, signatures: NDArray[Any]) -> NDArray[np.bool_]:
        """All."""
        return np.ones(len(signatures), dtype=bool)


class Exact:
    """Lets each text pass once, told by 128 bits of its hash."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def sign(self, documents: Sequence[Document]) -> NDArray[Any]:
        """The hash of each document, parts apart from each other."""
        hashes = [hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest() for parts in documents]
        return np.frombuffer(b"".join(hashes), dtype=np.uint64).reshape(-1, 2)

    def new(self, signatures: NDArray[Any]) -> NDArray[np.bool_]:
        """Those whose hash is new."""
        fresh = np.zeros(len(signatures), dtype=bool)
        for number, signature in enumerate(signatures):
            key = signature.tobytes()
            fresh[number] = key not in self._seen
            self._seen.add(key)
        return fresh


class Similar:
    """Lets a document pass if no earlier one shares most of its shingles.

    The resemblance of two documents, |A and B| / |A or B| over their sets A and B of shingles of five words, is the
    share of equal minima under random hashes (Broder 1997, "On the resemblance and containment of documents", sections
    2 and 3). Only documents that agree in a whole band of minima are compared: at a resemblance of 0.8 they do with a
    probability of 1 - (1 - 0.8^4)^32 > 0.9999, at 0.3 with 0.23.
    """

    def __init__(self) -> None:
        self._signatures: list[NDArray[np.uint32]] = []
        self._buckets: dict[bytes, list[int]] = {}

    def sign(self, documents: Sequence[Document]) -> NDArray[Any]:
        """The minimum of each random hash over the shingles of each document."""
        minima = [_minima(" ".join(parts)) for parts in documents]
        return np.array(minima, dtype=np.uint32).reshape(-1, len(_MULTIPLIERS))

    def new(self, signatures: NDArray[Any]) -> NDArray[np.bool_]:
        """Those that resemble none before."""
        return np.array([self._add(signature) for signature in signatures], dtype=bool)

    def _add(self, signature: NDArray[np.uint32]) -> bool:
        bands = [bytes([number]) + band.tobytes() for number, band in enumerate(signature.reshape(_BANDS, _ROWS))]
        near = sorted({number for band in bands for number in self._buckets.get(band, ())})
        if near and (np.stack([self._signatures[number] for number in near]) == signature).mean(1).max() >= SIMILAR:
            return False
        for band in bands:
            self._buckets.setdefault(band, []).append(len(self._signatures))
        self._signatures.append(signature)
        return True


def _minima(text: str) -> NDArray[np.uint32]:
    words = np.array([zlib.crc32(word.encode()) for word in text.split()], dtype=np.uint64)
    size = min(_SHINGLE, len(words))
    # A polynomial in an odd number mod 2^64 keeps the order of words; the hashes below mix its bits.
    shingles = np.zeros(len(words) - size + 1, dtype=np.uint64)
    for place in range(size):
        shingles = shingles * np.uint64(0x9E3779B97F4A7C15) + words[place : len(words) - size + 1 + place]
    shingles = _mixed(np.unique(shingles))
    least = np.full(len(_MULTIPLIERS), 2**32 - 1, dtype=np.uint32)
    for start in range(0, len(shingles), _BLOCK):
        # Multiply-shift hashing: odd multipliers, the upper half of the product (Dietzfelbinger et al. 1997).
        hashes = ((_MULTIPLIERS | np.uint64(1)) * shingles[start : start + _BLOCK] + _ADDENDS) >> np.uint64(32)
        least = np.minimum(least, hashes.min(1).astype(np.uint32))
    return least


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number with its bits spread (the finaliser of SplitMix64)."""
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(multiplier)
    return numbers ^ (numbers >> np.uint64(31))


SIEVES: dict[Repeats, type[Sieve]] = {"kept": Kept, "exact": Exact, "similar": Similar}
"""What each way to treat repeated documents passes through."""
