"""Strings <-> ids: every kind of vocabulary behind one Tokenizer, and chat templates."""

from stemma.text.characters import spell, spell_batch, spell_sentence
from stemma.text.chat import render_chat
from stemma.text.folder import read_tokenizer
from stemma.text.gguf import from_gguf
from stemma.text.padding import pad_rows, truncate
from stemma.text.report import Fit, fit
from stemma.text.saving import save_tokenizer
from stemma.text.sentencepiece import read_sentencepiece
from stemma.text.stream import StreamDecoder
from stemma.text.tokenizer import Encoding, Roles, Tokenizer
from stemma.text.train import train

__all__ = [
    "Encoding",
    "Fit",
    "Roles",
    "StreamDecoder",
    "Tokenizer",
    "fit",
    "from_gguf",
    "pad_rows",
    "read_sentencepiece",
    "read_tokenizer",
    "render_chat",
    "save_tokenizer",
    "spell",
    "spell_batch",
    "spell_sentence",
    "train",
    "truncate",
]
