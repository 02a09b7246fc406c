"""How well a vocabulary fits a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from stemma.text.tokenizer import Tokenizer

_BATCH = 1000


@dataclass(frozen=True)
class Fit:
    """Counts over texts, and what follows from them.

    Args:
        texts: how many there are.
        bytes: of them in UTF-8.
        words: what stands between white space; not a measure of languages that write without.
        tokens: without special ones around the texts.
        unknown: tokens that stand for something that the vocabulary cannot write.
        used: tokens of the vocabulary that occur.
        vocab_size: tokens that there are.
    """

    texts: int
    bytes: int
    words: int
    tokens: int
    unknown: int
    used: int
    vocab_size: int

    @property
    def fertility(self) -> float:
        """Tokens a word (Rust et al. 2021, section 3.2)."""
        return self.tokens / max(1, self.words)

    @property
    def compression(self) -> float:
        """Bytes a token."""
        return self.bytes / max(1, self.tokens)

    @property
    def unknown_share(self) -> float:
        """Share of the tokens that are unknown."""
        return self.unknown / max(1, self.tokens)

    @property
    def used_share(self) -> float:
        """Share of the vocabulary that occurs."""
        return self.used / max(1, self.vocab_size)


def fit(tokenizer: Tokenizer, texts: Iterable[str]) -> Fit:
    """How well a vocabulary fits some texts.

    Args:
        tokenizer: the vocabulary.
        texts: any number, read once.

    >>> from stemma.text import train
    >>> found = fit(train(["low lower"] * 3, vocab_size=258), ["low low"])
    >>> found.words, found.tokens, found.fertility
    (2, 5, 2.5)
    """
    n_texts = n_bytes = words = tokens = unknown = 0
    used: set[int] = set()
    for batch in _batches(texts):
        n_texts += len(batch)
        n_bytes += sum(len(text.encode()) for text in batch)
        words += sum(len(text.split()) for text in batch)
        for ids in tokenizer.encode_batch(batch, add_special=False):
            tokens += len(ids)
            unknown += ids.count(tokenizer.unk) if tokenizer.unk is not None else 0
            used.update(ids)
    return Fit(n_texts, n_bytes, words, tokens, unknown, len(used), len(tokenizer))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while batch := list(islice(rest, _BATCH)):
        yield batch
