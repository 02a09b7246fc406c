"""How a vocabulary writes its pieces: from a token's spelling to the bytes of text that it stands for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import tokenizers

from stemma.errors import Fault, TokenizerError

Style = Literal["words", "bytes", "spaces", "wordpiece", "suffix"]

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# What the WordPiece decoder glues to the word before it (BERT's own detokenisation).
_GLUED = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")


@cache
def byte_alphabet() -> dict[int, str]:
    """The printable character that byte-level BPE writes for each byte (GPT-2's `bytes_to_unicode`).

    >>> byte_alphabet()[ord(" ")], byte_alphabet()[ord("a")]
    ('Ġ', 'a')
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + rank) for rank, byte in enumerate(hidden)}


@cache
def _bytes_of_alphabet() -> dict[str, int]:
    return {character: byte for byte, character in byte_alphabet().items()}


@dataclass(frozen=True)
class Spelling:
    """How the pieces of one vocabulary are written.

    Args:
        style: `bytes` (byte-level BPE), `spaces` (SentencePiece: `marker` stands for a space), `wordpiece` (`marker`
            opens the rest of a word), `suffix` (`marker` ends a word) or `words` (every piece is a word).
        marker: the sign that `style` speaks of.
        byte_pieces: whether `<0x0A>` stands for a byte.
        drops: what of the first piece of a text is writing and no text: nothing, one space or every marker.
        glues: whether punctuation joins the word before it.
    """

    style: Style = "words"
    marker: str = ""
    byte_pieces: bool = False
    drops: Literal["nothing", "space", "markers"] = "nothing"
    glues: bool = False

    def read(self, token: str, first: bool = False) -> bytes:
        """The bytes of text that a token stands for.

        Args:
            token: as the vocabulary writes it.
            first: whether the text begins with it.

        >>> Spelling("spaces", "▁").read("▁the"), Spelling("bytes").read("Ġthe")
        (b' the', b' the')
        """
        if self.style == "bytes":
            table = _bytes_of_alphabet()
            return bytes(table[c] for c in token) if all(c in table for c in token) else token.encode()
        if self.style == "suffix":
            return (token.removesuffix(self.marker) + " ").encode() if token.endswith(self.marker) else token.encode()
        if self.style != "spaces":
            return self._word(token, first).encode()
        if self.byte_pieces and (byte := _BYTE_PIECE.fullmatch(token)):
            raw = bytes([int(byte[1], 16)])
        else:
            raw = token.replace(self.marker, "" if first and self.drops == "markers" else " ").encode()
        return raw.removeprefix(b" ") if first and self.drops == "space" else raw

    def _word(self, token: str, first: bool) -> str:
        if first:
            return token
        if self.style == "wordpiece" and token.startswith(self.marker):
            return token.removeprefix(self.marker)
        return token if self.glues and token.startswith(_GLUED) else " " + token

    def show(self, token: str) -> str:
        """How a token reads by itself: bytes that are no whole character keep their numbers.

        >>> Spelling("bytes").show("Ġthe"), Spelling("bytes").show("âĢ"), Spelling("wordpiece", "##").show("##ing")
        (' the', '<0xE2><0x80>', '##ing')
        """
        # Only the marker tells a WordPiece suffix from a word, so it stays.
        if self.style in ("wordpiece", "words"):
            return token
        escaped = self.read(token).decode("utf-8", "surrogateescape")
        return re.sub("[\udc80-\udcff]", lambda match: f"<0x{ord(match[0]) - 0xDC00:02X}>", escaped)


def spelling_of(backend: tokenizers.Tokenizer) -> Spelling:
    """Read the spelling off a backend's decoder.

    Raises:
        TokenizerError: the decoder has a step that no vocabulary known here uses.
    """
    if backend.decoder is None:
        return Spelling()
    state: dict[str, Any] = json.loads(backend.decoder.__getstate__())
    steps: list[dict[str, Any]] = state["decoders"] if state["type"] == "Sequence" else [state]
    spelling, faults = Spelling(), []
    for step in steps:
        match step:
            case {"type": "ByteLevel"}:
                spelling = replace(spelling, style="bytes")
            case {"type": "WordPiece", "prefix": marker, "cleanup": glues}:
                spelling = replace(spelling, style="wordpiece", marker=marker, glues=glues)
            case {"type": "BPEDecoder", "suffix": marker}:
                spelling = replace(spelling, style="suffix", marker=marker)
            case {"type": "Metaspace", "replacement": marker, "prepend_scheme": scheme}:
                drops: Literal["nothing", "markers"] = "nothing" if scheme == "never" else "markers"
                spelling = replace(spelling, style="spaces", marker=marker, drops=drops)
            case {"type": "Replace", "pattern": {"String": marker}, "content": " "}:
                spelling = replace(spelling, style="spaces", marker=marker)
            case {"type": "ByteFallback"}:
                spelling = replace(spelling, byte_pieces=True)
            case {"type": "Strip", "content": " ", "start": 1, "stop": 0}:
                spelling = replace(spelling, drops="space")
            case {"type": "Fuse"}:
                continue
            case _:
                faults.append(
                    Fault("decoder", step, "is no decoding step of a language model", "use a standard tokenizer.json")
                )
    if faults:
        raise TokenizerError("tokenizer", faults)
    return spelling
