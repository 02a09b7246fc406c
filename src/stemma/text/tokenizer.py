"""Strings <-> ids: one Tokenizer over every kind of vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import tokenizers

from stemma.errors import Fault, TokenizerError
from stemma.text.chat import Message, render_chat
from stemma.text.padding import Side, pad_rows
from stemma.text.saving import save_tokenizer
from stemma.text.spelling import spelling_of
from stemma.text.stream import StreamDecoder

Kind = Literal["bytebpe", "bpe", "wordpiece", "unigram"]

# Tokens that end a turn or a document in some model's convention, where the vocabulary holds them as special tokens: a
# chat model ends its answer with one of them, and its configuration often names another as the end of text.
_ENDINGS = frozenset(
    "<|im_end|> <|eot_id|> <|eom_id|> <|end|> <|return|> <|call|> <|endoftext|> <|end_of_text|> <end_of_turn> [EOT] "
    "<end_of_utterance> <｜end▁of▁sentence｜>".split()
)


@dataclass(frozen=True)
class Roles:
    """Which ids play the parts that models ask for; None where a vocabulary has no such token."""

    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    unk: int | None = None
    mask: int | None = None
    cls: int | None = None
    sep: int | None = None


ROLES = tuple(field.name for field in fields(Roles))


@dataclass(frozen=True)
class Encoding:
    """A text as ids, with the place of each id in it.

    Args:
        ids: the tokens.
        offsets: for each id the characters of the text that it covers, from the first to one past the last.
        segments: for each id 0 for the first text, 1 for the second (BERT's token types).
    """

    ids: list[int]
    offsets: list[tuple[int, int]]
    segments: list[int]


class Tokenizer:
    """Text to ids and back.

    Args:
        backend: the vocabulary and its rules; this object owns it from now on.
        roles: ids with a part to play, as `tokenizer.bos`, `.eos`, `.pad`, `.unk`, `.mask`, `.cls`, `.sep`.
        chat_template: in Jinja; None for a model that does not chat.
        stops: ids that end generation, beside `eos` and the well-known ends of turn.

    Raises:
        TokenizerError: an id that plays a part but lies outside the vocabulary.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        roles: Roles | None = None,
        *,
        chat_template: str | None = None,
        stops: Sequence[int] = (),
    ) -> None:
        roles = roles or Roles()
        # A file may ask for silent truncation or padding: here both are the caller's choice.
        backend.no_truncation()
        backend.no_padding()
        self.backend = backend
        self.roles = roles
        self.chat_template = chat_template
        self.bos, self.eos, self.pad, self.unk = roles.bos, roles.eos, roles.pad, roles.unk
        self.mask, self.cls, self.sep = roles.mask, roles.cls, roles.sep
        self._added = backend.get_added_tokens_decoder()
        vocabulary = backend.get_vocab(with_added_tokens=True)
        self.vocab_size: int = max(vocabulary.values(), default=-1) + 1
        self.special: frozenset[int] = frozenset(i for i, token in self._added.items() if token.special)
        endings = {i for i in self.special if self._added[i].content in _ENDINGS}
        self.stops: frozenset[int] = frozenset({*endings, *stops, *([] if roles.eos is None else [roles.eos])})
        self._spelling = spelling_of(backend)
        self._bytes: dict[int, bytes] = {}
        named = [(name, getattr(roles, name)) for name in ROLES] + [("stops", stop) for stop in stops]
        faults = [
            Fault(name, i, f"lies outside the vocabulary of {self.vocab_size}", "name an id that it holds")
            for name, i in named
            if i is not None and not self._holds(i)
        ]
        if faults:
            raise TokenizerError("tokenizer", faults)

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        return f"Tokenizer({self.kind}, vocab_size={self.vocab_size})"

    @property
    def kind(self) -> Kind:
        """The kind of vocabulary: `bytebpe`, `bpe`, `wordpiece` or `unigram`."""
        match type(self.backend.model).__name__:
            case "WordPiece":
                return "wordpiece"
            case "Unigram":
                return "unigram"
            case _:
                return "bytebpe" if self._spelling.style == "bytes" else "bpe"

    def encode(self, text: str, *, add_special: bool = True, pair: str | None = None) -> list[int]:
        """The ids of a text, or of a pair of texts.

        Args:
            text: any string; special tokens written in it become their ids.
            add_special: whether to add what the model expects around a text, such as `[CLS] ... [SEP]`.
            pair: a second text, as BERT reads it.
        """
        return self._encode(text, add_special, pair).ids

    def encode_batch(
        self, texts: Sequence[str], *, add_special: bool = True, pairs: Sequence[str] | None = None
    ) -> list[list[int]]:
        """The ids of many texts at once, on all cores.

        Args:
            texts: any strings.
            add_special: as in `encode`.
            pairs: a second text for each.
        """
        if pairs is not None and len(pairs) != len(texts):
            raise TokenizerError(
                "encode_batch",
                Fault("pairs", len(pairs), f"must be as many as the texts, {len(texts)}", "add the rest"),
            )
        rows: Sequence[Any] = texts if pairs is None else list(zip(texts, pairs, strict=True))
        try:
            encodings = self.backend.encode_batch_fast(rows, add_special_tokens=add_special)
        except (TypeError, UnicodeEncodeError) as error:
            raise _not_text(texts) from error
        return [encoding.ids for encoding in encodings]

    def encode_with_offsets(self, text: str, *, add_special: bool = True, pair: str | None = None) -> Encoding:
        """The ids of a text with the characters that each covers; arguments as in `encode`."""
        encoding = self._encode(text, add_special, pair)
        return Encoding(encoding.ids, encoding.offsets, encoding.type_ids)

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of ids.

        Args:
            ids: at most `vocab_size - 1` each.
            skip_special: whether special tokens are left out.

        Raises:
            TokenizerError: ids outside the vocabulary, all of them named.
        """
        ids = list(ids)
        faults = [self._outside(place, i) for place, i in enumerate(ids) if not self._holds(i)]
        if faults:
            raise TokenizerError("decode", faults)
        stream = self.stream(skip_special=skip_special)
        return "".join(map(stream.push, ids)) + stream.flush()

    def stream(self, *, skip_special: bool = True) -> StreamDecoder:
        """A decoder for ids that arrive one by one."""

        def read(token_id: int, first: bool) -> bytes | None:
            if not self._holds(token_id):
                raise TokenizerError("decode", self._outside(0, token_id))
            if skip_special and token_id in self.special:
                return None
            return self._read(token_id, first)

        return StreamDecoder(read, lags=self._spelling.style == "suffix")

    def text_of(self, token_id: int) -> str:
        """How one token reads, as ` the` for GPT-2's `Ġthe`; bytes that are no character are shown as `<0xE2>`.

        Raises:
            TokenizerError: the id lies outside the vocabulary.
        """
        if not self._holds(token_id):
            raise TokenizerError("text_of", self._outside(0, token_id))
        if token_id in self._added:
            return self._added[token_id].content
        return self._spelling.show(self.token_of(token_id))

    def token_of(self, token_id: int) -> str:
        """A token as the vocabulary writes it, such as `Ġthe`."""
        token: str | None = self.backend.id_to_token(token_id)
        if token is None:
            raise TokenizerError("token_of", self._outside(0, token_id))
        return token

    def id_of(self, token: str) -> int | None:
        """The id of a token as the vocabulary writes it; None where it is not there."""
        found: int | None = self.backend.token_to_id(token)
        return found

    def pad_rows(
        self,
        rows: Sequence[Sequence[int]],
        *,
        side: Side = "right",
        max_length: int | None = None,
        truncate_side: Side = "right",
    ) -> tuple[list[list[int]], list[list[bool]]]:
        """Fill rows of ids up to the longest: see `stemma.text.pad_rows`."""
        # The mask hides the filling, so that any id will do where the vocabulary has none for it.
        pad = next((i for i in (self.pad, self.eos) if i is not None), 0)
        return pad_rows(rows, pad, side=side, max_length=max_length, truncate_side=truncate_side)

    def render_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """A conversation as the text that the model was trained on; arguments as in `encode_chat`."""
        if self.chat_template is None:
            raise TokenizerError(
                "chat", Fault("chat_template", None, "is missing", "use a chat model, or give the text itself")
            )
        tokens = {f"{name}_token": self.token_of(i) for name in ROLES if (i := getattr(self.roles, name)) is not None}
        return render_chat(
            self.chat_template, messages, tools=tools, add_generation_prompt=add_generation_prompt, tokens=tokens
        )

    def encode_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> list[int]:
        """The ids of a conversation.

        Args:
            messages: each with a `role` and a `content`.
            tools: JSON schemas of the functions that the model may call.
            add_generation_prompt: whether to open the assistant's answer.

        Raises:
            TokenizerError: no template, a message without a role, or a template that fails.
        """
        # The template writes the special tokens itself.
        return self.encode(self.render_chat(messages, tools, add_generation_prompt), add_special=False)

    def save(self, folder: str | Path) -> None:
        """Write the files that this library and `transformers` read back: see `stemma.text.save_tokenizer`."""
        save_tokenizer(self, folder)

    def _encode(self, text: str, add_special: bool, pair: str | None) -> tokenizers.Encoding:
        try:
            return self.backend.encode(text, pair, add_special_tokens=add_special)
        except (TypeError, UnicodeEncodeError) as error:
            raise _not_text([text] if pair is None else [text, pair]) from error

    def _read(self, token_id: int, first: bool) -> bytes:
        if not first and (known := self._bytes.get(token_id)) is not None:
            return known
        token = self.token_of(token_id)
        # An added token is written as it reads, whatever alphabet the others use.
        verbatim = token_id in self._added and self._spelling.style == "bytes"
        raw = token.encode() if verbatim else self._spelling.read(token, first)
        if not first:
            self._bytes[token_id] = raw
        return raw

    def _holds(self, token_id: int) -> bool:
        return 0 <= token_id < self.vocab_size and self.backend.id_to_token(token_id) is not None

    def _outside(self, place: int, token_id: int) -> Fault:
        return Fault(f"ids[{place}]", token_id, f"lies outside the vocabulary of {self.vocab_size}", "check the model")


def _not_text(texts: Sequence[object]) -> TokenizerError:
    faults = []
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            faults.append(Fault(f"texts[{place}]", text, "must be a string", "give text"))
        elif any("\ud800" <= character <= "\udfff" for character in text):
            faults.append(Fault(f"texts[{place}]", text, "holds half a surrogate pair", "decode the file as UTF-8"))
    return TokenizerError("encode", faults or Fault("texts", texts, "is no list of strings", "give text"))
