"""The tokenizer that a GGUF file carries in its metadata, under llama.cpp's keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers

from stemma.errors import Fault, TokenizerError
from stemma.text import assemble
from stemma.text.sentencepiece import PieceType, sentinels
from stemma.text.splits import SPLITS, WHOLE_TOKENS
from stemma.text.tokenizer import Roles, Tokenizer
from stemma.text.vocabulary import check, index, is_cased, merges_of_scores, read_merges

_WHERE = "gguf tokenizer"
_PREFIX = "tokenizer.ggml."
# GGUF spells the separator's key like this.
_ROLE_KEYS = {
    "bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "pad": "padding_token_id",
    "sep": "seperator_token_id", "cls": "cls_token_id", "mask": "mask_token_id",
}  # fmt: skip
_STOP_KEYS = ("eot_token_id", "eom_token_id")
_PADDING = re.compile(r"\[PAD\d+\]")
_T5_SENTINELS = 100


@dataclass(frozen=True)
class _Parts:
    """The metadata, checked: as many types and scores as tokens."""

    metadata: Mapping[str, Any]
    tokens: list[str]
    types: list[int]
    scores: list[float]
    merges: list[str]
    charsmap: list[int]
    roles: dict[str, int]

    def flag(self, key: str, default: bool) -> bool:
        return bool(self.metadata.get(_PREFIX + key, default))

    def token(self, role: str) -> str | None:
        return self.tokens[self.roles[role]] if role in self.roles else None

    def of_type(self, *types: PieceType) -> list[str]:
        return [token for token, kind in zip(self.tokens, self.types, strict=True) if kind in types]


def from_gguf(metadata: Mapping[str, object]) -> Tokenizer:
    """Make a tokenizer from the metadata of a GGUF file.

    Args:
        metadata: GGUF keys and plain values, at least `tokenizer.ggml.model` and `tokenizer.ggml.tokens`.

    Raises:
        TokenizerError: keys that are missing or do not fit together, all of them named.
    """
    model = metadata.get(_PREFIX + "model")
    if model not in _BUILDERS:
        rule = "is no vocabulary known here" if model is not None else "is missing"
        fault = Fault(_PREFIX + "model", model, rule, f"use one of {', '.join(_BUILDERS)}")
        raise TokenizerError(_WHERE, fault)
    parts = _read(metadata)
    backend = _BUILDERS[str(model)](parts)
    template = metadata.get("tokenizer.chat_template")
    stops = [i for key in _STOP_KEYS if isinstance(i := metadata.get(_PREFIX + key), int)]
    return Tokenizer(
        backend, Roles(**parts.roles), chat_template=template if isinstance(template, str) else None, stops=stops
    )


def _read(metadata: Mapping[str, Any]) -> _Parts:
    faults = []

    def rows(key: str, of: type | tuple[type, ...], default: Sequence[Any], size: int | None = None) -> list[Any]:
        value = metadata.get(_PREFIX + key, default)
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            faults.append(Fault(_PREFIX + key, value, "must be a list", "convert the model again"))
            return []
        if size is not None and len(value) != size:
            faults.append(
                Fault(_PREFIX + key, len(value), f"must be as long as the tokens, {size}", "convert it again")
            )
        faults.extend(
            Fault(f"{_PREFIX}{key}[{i}]", row, "is of the wrong type", "convert the model again")
            for i, row in enumerate(value)
            if not isinstance(row, of)
        )
        return list(value)

    tokens = [
        # llama.cpp's own name for a token without text, of which a few files have some.
        token if token != "" else f"[EMPTY_{i}]"
        for i, token in enumerate(rows("tokens", str, ()))
    ]
    types = rows("token_type", int, [int(PieceType.NORMAL)] * len(tokens), len(tokens))
    scores = rows("scores", (int, float), [0.0] * len(tokens), len(tokens))
    merges, charsmap = rows("merges", str, ()), rows("precompiled_charsmap", int, ())
    roles = {}
    for name, key in [*_ROLE_KEYS.items(), *((key, key) for key in _STOP_KEYS)]:
        value = metadata.get(_PREFIX + key)
        if value is None:
            continue
        if not isinstance(value, int) or not 0 <= value < len(tokens):
            rule = f"lies outside the vocabulary of {len(tokens)}"
            faults.append(Fault(_PREFIX + key, value, rule, "name an id that it holds"))
        elif name in _ROLE_KEYS:
            roles[name] = value
    check(_WHERE, faults)
    return _Parts(metadata, tokens, types, scores, merges, charsmap, roles)


def _mark(backend: tokenizers.Tokenizer, parts: _Parts) -> tokenizers.Tokenizer:
    special = parts.of_type(PieceType.UNKNOWN, PieceType.CONTROL)
    ends = [parts.tokens[i] for i in parts.roles.values()]
    assemble.mark(backend, [*special, *ends], parts.of_type(PieceType.USER_DEFINED))
    return backend


def _byte_bpe(parts: _Parts) -> tokenizers.Tokenizer:
    # Files of before April 2024 name no pre-tokeniser; the models of that time cut text as GPT-2 does.
    name = parts.metadata.get(_PREFIX + "pre", "gpt-2")
    if name not in SPLITS:
        fault = Fault(
            _PREFIX + "pre", name, "is no pre-tokeniser known here", f"use one of {', '.join(sorted(SPLITS))}"
        )
        raise TokenizerError(_WHERE, fault)
    if not parts.merges:
        raise TokenizerError(_WHERE, Fault(_PREFIX + "merges", None, "is missing", "convert the model again"))
    backend = assemble.byte_bpe(
        index(parts.tokens, _WHERE), read_merges(parts.merges, _WHERE), _WHERE, SPLITS[name],
        whole_tokens=name in WHOLE_TOKENS, prefix_space=parts.flag("add_space_prefix", False),
    )  # fmt: skip
    begins = parts.flag("add_bos_token", name in WHOLE_TOKENS)
    _frame(backend, parts, begins, parts.flag("add_eos_token", False))
    return _mark(backend, parts)


def _frame(backend: tokenizers.Tokenizer, parts: _Parts, begins: bool, ends: bool) -> None:
    faults = [
        Fault(f"{_PREFIX}{role}_token_id", None, f"is missing though add_{role}_token is set", "name the token")
        for role, wanted in (("bos", begins), ("eos", ends))
        if wanted and role not in parts.roles
    ]
    check(_WHERE, faults)
    assemble.frame_sentence(backend, parts.token("bos") if begins else None, parts.token("eos") if ends else None)


def _rules(parts: _Parts, trim: bool) -> assemble.SentenceRules:
    return assemble.SentenceRules(
        prefix=parts.flag("add_space_prefix", True),
        trim=parts.flag("remove_extra_whitespaces", trim),
        byte_pieces=PieceType.BYTE in parts.types,
        charsmap=bytes(value & 0xFF for value in parts.charsmap),
    )


def _sentence_bpe(parts: _Parts) -> tokenizers.Tokenizer:
    vocab = index(parts.tokens, _WHERE)
    merges = read_merges(parts.merges, _WHERE)
    if not merges:
        rows = zip(parts.tokens, parts.scores, parts.types, strict=True)
        merges = merges_of_scores({token: score for token, score, kind in rows if kind == PieceType.NORMAL})
    unknown = next(iter(parts.of_type(PieceType.UNKNOWN)), parts.token("unk"))
    backend = assemble.sentence_bpe(vocab, merges, _WHERE, _rules(parts, trim=False), unk=unknown)
    _frame(backend, parts, parts.flag("add_bos_token", "bos" in parts.roles), parts.flag("add_eos_token", False))
    return _mark(backend, parts)


def _wordpiece(parts: _Parts) -> tokenizers.Tokenizer:
    tokens = parts.tokens
    # GGUF writes `▁the` and `ing` for `the` and `##ing`.
    if any(token.startswith(assemble.SPACE) for token in tokens):
        tokens = [_as_wordpiece(token) for token in tokens]
    # Whether a model tells capitals from small letters stands nowhere: an uncased vocabulary has none.
    unk = parts.token("unk") or "[UNK]"
    backend = assemble.wordpiece(index(tokens, _WHERE), _WHERE, unk=unk, lowercase=not is_cased(tokens))
    cls, sep = parts.token("cls") or parts.token("bos"), parts.token("sep") or parts.token("eos")
    if cls is not None and sep is not None:
        assemble.frame(backend, f"{cls}:0 $A:0 {sep}:0", f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1")
    return _mark(backend, parts)


def _as_wordpiece(token: str) -> str:
    if token.startswith("[") and token.endswith("]"):
        return token
    return token.removeprefix(assemble.SPACE) if token.startswith(assemble.SPACE) else "##" + token


def _unigram(parts: _Parts) -> tokenizers.Tokenizer:
    # The file calls T5's sentinels, which stand in no SentencePiece model, [PAD32000] and on.
    blanks = [i for i, token in enumerate(parts.tokens) if _PADDING.fullmatch(token)]
    names = dict(zip(blanks, sentinels(_T5_SENTINELS), strict=False)) if len(blanks) >= _T5_SENTINELS else {}
    pieces = [(names.get(i, token), parts.scores[i]) for i, token in enumerate(parts.tokens)]
    backend = assemble.unigram(pieces, _WHERE, _rules(parts, trim=True), unk=parts.roles.get("unk", 2))
    _frame(backend, parts, parts.flag("add_bos_token", False), parts.flag("add_eos_token", "eos" in parts.roles))
    assemble.mark(backend, names.values())
    return _mark(backend, parts)


_BUILDERS: dict[str, Callable[[_Parts], tokenizers.Tokenizer]] = {
    "gpt2": _byte_bpe,
    "llama": _sentence_bpe,
    "bert": _wordpiece,
    "t5": _unigram,
}
