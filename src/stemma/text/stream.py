"""Ids to text one id at a time: whole characters come out as soon as they are certain."""

from __future__ import annotations

import codecs
from collections.abc import Callable


class StreamDecoder:
    """Turn ids into text as they arrive; what it returns, joined, is the decoded text of all ids.

    Each id is read once. A character whose bytes are spread over several ids comes out with the last of them, and bytes
    that make up no character come out as U+FFFD, as in GPT-2's decoder. `Tokenizer.stream` makes one.

    Args:
        read: the bytes of an id, told whether it is the first of the text; None where the id is to be left out.
        lags: whether a piece's closing space is text only when another piece follows.
    """

    def __init__(self, read: Callable[[int, bool], bytes | None], lags: bool) -> None:
        self._read = read
        self._lags = lags
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._first = True
        self._owed = ""

    def push(self, token_id: int) -> str:
        """Take one id and return the text that is now certain, often a word, sometimes nothing.

        Raises:
            TokenizerError: the id lies outside the vocabulary.
        """
        raw = self._read(token_id, self._first)
        if raw is None:
            return ""
        self._first = False
        text = self._owed + self._characters.decode(raw)
        self._owed = ""
        if self._lags and text.endswith(" "):
            text, self._owed = text[:-1], " "
        return text

    def flush(self) -> str:
        """Return what an unfinished character leaves, and be ready for a new text."""
        text = self._characters.decode(b"", final=True)
        self._characters.reset()
        self._first, self._owed = True, ""
        return text
