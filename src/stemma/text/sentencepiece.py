"""SentencePiece `*.model` files -> Tokenizer, without the sentencepiece library (Kudo and Richardson 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import tokenizers
from tokenizers import normalizers

from stemma.errors import Fault, TokenizerError
from stemma.text import assemble
from stemma.text.tokenizer import Roles, Tokenizer
from stemma.text.vocabulary import check, index, merges_of_scores
from stemma.text.wire import WireError, bytes_of, fields, float_of, number_of, text_of


class PieceType(IntEnum):
    """What a piece is; SentencePiece and GGUF number the types alike."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass
class SentencePieceModel:
    """What a `*.model` file says, with SentencePiece's defaults.

    Args:
        pieces: the vocabulary in the order of its ids: text, score, type.
        algorithm: 1 unigram, 2 BPE, 3 words, 4 characters.
        byte_pieces: whether the unknown is written in bytes.
        unk, bos, eos, pad: ids; below 0 for none.
        charsmap: the compiled normalisation.
        prefix: whether a space goes before the text.
        trim: whether spaces at the ends go and runs of spaces become one.
        suffix: whether a space ends a word instead of opening it.
    """

    pieces: list[tuple[str, float, int]] = field(default_factory=list)
    algorithm: int = 1
    byte_pieces: bool = False
    unk: int = 0
    bos: int = 1
    eos: int = 2
    pad: int = -1
    charsmap: bytes = b""
    prefix: bool = True
    trim: bool = True
    suffix: bool = False

    def of_type(self, *types: PieceType) -> list[str]:
        """The pieces of some types."""
        return [piece for piece, _, kind in self.pieces if kind in types]

    def named(self, token_id: int) -> str | None:
        """The piece of an id; None below 0."""
        return self.pieces[token_id][0] if token_id >= 0 else None


def parse_model(data: bytes, where: str) -> SentencePieceModel:
    """Read a SentencePiece model.

    Args:
        data: the file.
        where: its name, for the error.

    Raises:
        TokenizerError: the file is cut off, lies about a length, or holds ids, scores or types that cannot be.
    """
    model = SentencePieceModel()
    try:
        for number, value in fields(data):
            if number == 1:
                model.pieces.append(_piece(bytes_of(value)))
            elif number == 2:
                _read_training(model, bytes_of(value))
            elif number == 3:
                _read_normalisation(model, bytes_of(value))
    except WireError as error:
        fault = Fault("bytes", len(data), f"are no SentencePiece model: {error}", "copy the file again")
        raise TokenizerError(where, fault) from error
    check(where, _faults(model))
    return model


def _piece(data: bytes) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, int(PieceType.NORMAL)
    for number, value in fields(data):
        if number == 1:
            text = text_of(value)
        elif number == 2:
            score = float_of(value)
        elif number == 3:
            kind = number_of(value)
    return text, score, kind


def _read_training(model: SentencePieceModel, data: bytes) -> None:
    for number, value in fields(data):
        match number:
            case 3:
                model.algorithm = number_of(value)
            case 24:
                model.suffix = bool(number_of(value))
            case 35:
                model.byte_pieces = bool(number_of(value))
            case 40:
                model.unk = number_of(value)
            case 41:
                model.bos = number_of(value)
            case 42:
                model.eos = number_of(value)
            case 43:
                model.pad = number_of(value)


def _read_normalisation(model: SentencePieceModel, data: bytes) -> None:
    for number, value in fields(data):
        match number:
            case 2:
                model.charsmap = bytes_of(value)
            case 3:
                model.prefix = bool(number_of(value))
            case 4:
                model.trim = bool(number_of(value))


def _faults(model: SentencePieceModel) -> list[Fault]:
    size = len(model.pieces)
    faults = [
        Fault(name, i, f"lies outside the vocabulary of {size}", "name an id that it holds")
        for name, i in (("unk", model.unk), ("bos", model.bos), ("eos", model.eos), ("pad", model.pad))
        if i >= size or (name == "unk" and i < 0)
    ]
    for place, (text, score, kind) in enumerate(model.pieces):
        if not text:
            faults.append(Fault(f"pieces[{place}]", text, "is empty", "train the vocabulary again"))
        if not math.isfinite(score):
            faults.append(Fault(f"pieces[{place}].score", score, "must be finite", "train the vocabulary again"))
        if kind not in PieceType.__members__.values():
            faults.append(Fault(f"pieces[{place}].type", kind, "is no type of a piece", "use 1 to 6"))
    if model.algorithm not in (1, 2):
        faults.append(Fault("model_type", model.algorithm, "is neither unigram (1) nor BPE (2)", "use one of these"))
    if model.suffix:
        faults.append(
            Fault("treat_whitespace_as_suffix", True, "is not supported", "use a model with the space before")
        )
    return faults


def backend_of(
    model: SentencePieceModel,
    where: str,
    before: tuple[normalizers.Normalizer, ...] = (),
    extra: tuple[str, ...] = (),
) -> tokenizers.Tokenizer:
    """Assemble the vocabulary of a SentencePiece model.

    Args:
        model: as read.
        where: its name, for the error.
        before: normalisers that run first.
        extra: special tokens with the ids that follow.

    Raises:
        TokenizerError: a piece stands twice or the parts do not fit.
    """
    rules = assemble.SentenceRules(model.prefix, model.trim, model.byte_pieces, model.charsmap, before)
    users: list[str] = []
    if model.algorithm == 1:
        backend = assemble.unigram(_scored(model), where, rules, unk=model.unk)
    else:
        vocab = index([text for text, _, _ in model.pieces], where)
        merges = merges_of_scores({text: score for text, score, kind in model.pieces if kind == PieceType.NORMAL})
        backend = assemble.sentence_bpe(vocab, merges, where, rules, unk=model.named(model.unk))
        users = model.of_type(PieceType.USER_DEFINED)
    assemble.mark(backend, [*model.of_type(PieceType.UNKNOWN, PieceType.CONTROL), *extra], users)
    return backend


def _scored(model: SentencePieceModel) -> list[tuple[str, float]]:
    """The pieces' scores; a user-defined piece gets one that no other cut beats, as in SentencePiece."""
    best = max((score for _, score, kind in model.pieces if kind == PieceType.NORMAL), default=0.0)
    return [
        (text, len(text.encode()) * best - 0.1 if kind == PieceType.USER_DEFINED else score)
        for text, score, kind in model.pieces
    ]


def read_sentencepiece(path: str | Path, *, extra_ids: int = 0) -> Tokenizer:
    """Read a SentencePiece model on its own, with the special tokens that it names itself.

    A text gets the model's start token where it has one, else its end token.

    Args:
        path: the `*.model` file.
        extra_ids: how many sentinels `<extra_id_0>`, ... follow the pieces, the last first (T5 has 100).

    Raises:
        TokenizerError: the file cannot be read or used.
    """
    path = Path(path)
    try:
        model = parse_model(path.read_bytes(), path.name)
    except OSError as error:
        fault = Fault("file", str(path), f"cannot be read: {error.strerror}", "check the path")
        raise TokenizerError(path.name, fault) from error
    backend = backend_of(model, path.name, extra=sentinels(extra_ids))
    ids = {name: i for name in ("bos", "eos", "pad", "unk") if (i := getattr(model, name)) >= 0}
    bos, eos = model.named(model.bos), model.named(model.eos)
    assemble.frame_sentence(backend, bos, eos if bos is None else None)
    return Tokenizer(backend, Roles(**ids))


def sentinels(count: int) -> tuple[str, ...]:
    """T5's sentinels in the order of their ids (Raffel et al. 2020, section 3.1.4).

    >>> sentinels(2)
    ('<extra_id_1>', '<extra_id_0>')
    """
    return tuple(f"<extra_id_{i}>" for i in reversed(range(count)))
