"""A tokenizer as the entries of a GGUF file, under llama.cpp's keys: the inverse of `from_gguf`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stemma.errors import Fault, TokenizerError
from stemma.text.assemble import SPACE
from stemma.text.gguf import from_gguf
from stemma.text.sentencepiece import PieceType
from stemma.text.splits import GPT2, SPLITS, WHOLE_TOKENS
from stemma.text.tokenizer import Tokenizer
from stemma.text.vocabulary import check, merges_of_scores

_WHERE = "gguf tokenizer"
_REMEDY = "convert --to hf, whose tokenizer.json holds every tokenizer"
_PREFIX = "tokenizer.ggml."
_KEYS = {
    "bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "pad": "padding_token_id",
    "sep": "seperator_token_id", "cls": "cls_token_id", "mask": "mask_token_id",
}  # fmt: skip
_STOPS = ("eot_token_id", "eom_token_id")
# Pieces that no merge makes come after all that one does.
_LAST = -1e6
# What tokenizers are told apart by: case, digits, signs, runs of spaces, accents, other scripts.
_PROBE = "Hello, wOrld's  1234567 ½ I'LL DON'T\r\n\n  été 日本語 ა\U0001f600\t(x==y) 3.14 _a_b. The quick brown fox  "

State = Mapping[str, Any]


def gguf_entries(tokenizer: Tokenizer, size: int) -> dict[str, Any]:
    """The entries by which llama.cpp, and `from_gguf`, cut a text as this tokenizer does.

    They are read back and tried on a text before they are given.

    Args:
        tokenizer: what to write.
        size: rows of the model's table; ids without a token are filled up to it.

    Raises:
        TokenizerError: naming what llama.cpp's vocabularies cannot tell.
    """
    state: State = json.loads(tokenizer.backend.to_str())
    if tokenizer.kind not in _KINDS:
        rule = f"is no vocabulary that is written to GGUF, which are {', '.join(_KINDS)}"
        raise TokenizerError(_WHERE, Fault("kind", tokenizer.kind, rule, _REMEDY))
    if tokenizer.vocab_size > size:
        rule = f"exceeds the {size} rows of the model's table"
        raise TokenizerError(_WHERE, Fault("vocab_size", tokenizer.vocab_size, rule, "use the model's own tokenizer"))
    check(_WHERE, list(_untold(state)))
    tokens, types = _tokens(tokenizer, state, size)
    entries: dict[str, Any] = {"tokens": tokens, "token_type": list(map(int, types))}
    entries |= _KINDS[tokenizer.kind](tokenizer, state, tokens, types)
    entries |= {_KEYS[role]: token for role, token in asdict(tokenizer.roles).items() if token is not None}
    if tokenizer.cls is not None and tokenizer.bos is None:
        entries[_KEYS["bos"]] = tokenizer.cls  # which is what llama.cpp puts before a text
    told = {_PREFIX + key: value for key, value in entries.items()}
    if tokenizer.chat_template is not None:
        told["tokenizer.chat_template"] = tokenizer.chat_template
    again = from_gguf(told)
    told |= {_PREFIX + key: stop for key, stop in zip(_STOPS, sorted(tokenizer.stops - again.stops), strict=False)}
    check(_WHERE, list(_differences(tokenizer, from_gguf(told))))
    return told


def _untold(state: State) -> list[Fault]:
    """Added tokens that take more of a text than themselves."""
    return [
        Fault("added token", token["content"], "takes the spaces around it, which GGUF cannot tell", _REMEDY)
        for token in state["added_tokens"]
        if token["lstrip"] or token["rstrip"] or token["single_word"]
    ]


def _tokens(tokenizer: Tokenizer, state: State, size: int) -> tuple[list[str], list[PieceType]]:
    """Every id's token and type."""
    names = {i: token for token, i in tokenizer.backend.get_vocab(with_added_tokens=True).items()}
    added = {token["id"]: token["special"] for token in state["added_tokens"]}
    bytes_, unknown = state["model"].get("byte_fallback", False), state["model"].get("unk_token")

    def type_of(i: int) -> PieceType:
        name = names.get(i)
        if name is None:
            return PieceType.UNUSED
        if name == unknown:
            return PieceType.UNKNOWN
        if i in added:
            return PieceType.CONTROL if added[i] else PieceType.USER_DEFINED
        is_byte = bytes_ and len(name) == 6 and name.startswith("<0x") and name.endswith(">")
        return PieceType.BYTE if is_byte else PieceType.NORMAL

    return [names.get(i, f"[PAD{i}]") for i in range(size)], [type_of(i) for i in range(size)]


def _frames(tokenizer: Tokenizer) -> dict[str, Any]:
    """What goes around a text, and whether it begins as if a space stood before it."""
    bare, framed = (tokenizer.encode("a", add_special=special) for special in (False, True))
    return {
        "add_bos_token": tokenizer.bos is not None and framed[:1] == [tokenizer.bos] and framed[:1] != bare[:1],
        "add_eos_token": tokenizer.eos is not None and framed[-1:] == [tokenizer.eos] and framed[-1:] != bare[-1:],
        "add_space_prefix": bool(bare) and tokenizer.token_of(bare[0]).startswith((SPACE, "Ġ")),
    }


def _byte_bpe(tokenizer: Tokenizer, state: State, tokens: list[str], types: list[PieceType]) -> dict[str, Any]:
    whole = bool(state["model"]["ignore_merges"])
    splits = _splits(state["pre_tokenizer"])
    names = [name for name, known in SPLITS.items() if known == splits and (name in WHOLE_TOKENS) == whole]
    if not names:
        rule = "cut text as no pre-tokeniser that llama.cpp names"
        raise TokenizerError(_WHERE, Fault("pre_tokenizer", list(splits), rule, _REMEDY))
    merges = [" ".join(merge) for merge in state["model"]["merges"]]
    return {"model": "gpt2", "pre": names[0], "merges": merges, **_frames(tokenizer)}


def _splits(step: State) -> tuple[str, ...]:
    """The patterns of a pre-tokeniser, one after the other."""
    match step:
        case {"type": "Sequence", "pretokenizers": steps}:
            return tuple(pattern for one in steps for pattern in _splits(one))
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
            return (pattern,)
        case {"type": "Digits", "individual_digits": True}:
            return (r"\p{N}",)
        case {"type": "ByteLevel", "use_regex": cuts}:
            return (GPT2,) if cuts else ()
    return (str(step),)


def _sentence_bpe(tokenizer: Tokenizer, state: State, tokens: list[str], types: list[PieceType]) -> dict[str, Any]:
    merges = [(left, right) for left, right in state["model"]["merges"]]
    known = _scores([left + right for left, right in merges])
    scores = [
        known.get(token, _LAST) if kind == PieceType.NORMAL else 0.0 for token, kind in zip(tokens, types, strict=True)
    ]
    # llama.cpp is told no merges: it joins whatever neighbours make the best piece.
    rows = zip(tokens, scores, types, strict=True)
    joined = merges_of_scores({token: score for token, score, kind in rows if kind == PieceType.NORMAL})
    if different := set(joined) ^ set(merges):
        rule = "stand in one alone of the merges and what SentencePiece's scores would merge"
        raise TokenizerError(_WHERE, Fault("merges", len(different), rule, _REMEDY))
    return {"model": "llama", "pre": "default", "scores": scores, **_frames(tokenizer)}


def _scores(pieces: Sequence[str]) -> dict[str, float]:
    """A score for each piece, out of the pieces that merges make, in their order; alike where their merges interlace.

    >>> _scores(["ab", "abc", "abc", "x", "y", "x"])
    {'ab': -1.0, 'abc': -2.0, 'x': -3.0, 'y': -3.0}
    """
    ends = {piece: place for place, piece in enumerate(pieces)}
    scores: dict[str, float] = {}
    score, reach = 0, -1
    for place, piece in enumerate(pieces):
        score -= place > reach
        reach = max(reach, ends[piece])
        scores.setdefault(piece, float(score))
    return scores


def _wordpiece(tokenizer: Tokenizer, state: State, tokens: list[str], types: list[PieceType]) -> dict[str, Any]:
    normaliser = state["normalizer"] or {}
    faults = []
    if not normaliser.get("lowercase"):
        faults.append(Fault("lowercase", False, "must be true: llama.cpp writes WordPiece small", _REMEDY))
    if (marker := state["model"]["continuing_subword_prefix"]) != "##":
        faults.append(Fault("continuing_subword_prefix", marker, "must be ##", _REMEDY))
    check(_WHERE, faults)
    # GGUF marks where a word begins, not where it goes on.
    written = [
        token if kind != PieceType.NORMAL else token[2:] if token.startswith("##") else SPACE + token
        for token, kind in zip(tokens, types, strict=True)
    ]
    return {"model": "bert", "pre": "default", "tokens": written}


_Writer = Callable[[Tokenizer, State, list[str], list[PieceType]], dict[str, Any]]
_KINDS: Mapping[str, _Writer] = {"bytebpe": _byte_bpe, "bpe": _sentence_bpe, "wordpiece": _wordpiece}


def _differences(tokenizer: Tokenizer, again: Tokenizer) -> list[Fault]:
    """Where what was written reads otherwise than what was meant."""
    faults = []
    if missing := sorted(tokenizer.stops - again.stops):
        names = [tokenizer.token_of(i) for i in missing]
        faults.append(Fault("stops", names, "are more tokens that end a text than GGUF can name", _REMEDY))
    for special in (True, False):
        meant, read = (one.encode(_PROBE, add_special=special) for one in (tokenizer, again))
        if meant != read:
            place = next((i for i, pair in enumerate(zip(meant, read, strict=False)) if pair[0] != pair[1]), len(read))
            rule = "is where llama.cpp's rules would cut a sample otherwise"
            faults.append(Fault(f"ids[{place}]", meant[place : place + 3], rule, _REMEDY))
            break
    return faults
