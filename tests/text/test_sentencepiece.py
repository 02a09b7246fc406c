"""SentencePiece files against the sentencepiece library, and files that lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemma.errors import TokenizerError
from stemma.text import read_sentencepiece, read_tokenizer
from stemma.text.sentencepiece import parse_model

_FILES = [
    "t5-tokenizer/spiece.model",
    "albert-v2-tokenizer/spiece.model",
    "mistral-tokenizers/tokenizer.model.v1",
]
_LATER_FILES = [
    "mistral-tokenizers/mistral_instruct_tokenizer_240216.model.v2",
    "mistral-tokenizers/mistral_instruct_tokenizer_240323.model.v3",
    "mistral-tokenizers/mistral_instruct_tokenizer_241114.model.v7",
    "mistral-tokenizers/mistral_instruct_tokenizer_241114.model.v7m1",
]


@pytest.mark.parametrize("name", [*_FILES, *(pytest.param(name, marks=pytest.mark.slow) for name in _LATER_FILES)])
def test_ids_and_text_are_those_of_sentencepiece(shared: Path, name: str, texts: list[str]) -> None:
    from sentencepiece import SentencePieceProcessor

    path = shared / "weights" / name
    theirs = SentencePieceProcessor(model_file=str(path))
    ours = read_sentencepiece(path)
    expected = theirs.encode(texts)
    assert ours.encode_batch(texts, add_special=False) == expected
    # The library writes the unknown as a sign of its own.
    known = [ids for ids in expected if ours.unk not in ids]
    assert len(known) > 100
    assert [ours.decode(ids) for ids in known] == theirs.decode(known)


def test_t5_ends_a_text_and_has_sentinels(shared: Path) -> None:
    tokenizer = read_tokenizer(shared / "weights/t5-tokenizer", extra_ids=100)
    assert tokenizer is not None
    assert (tokenizer.kind, tokenizer.vocab_size, tokenizer.eos, tokenizer.pad) == ("unigram", 32_100, 1, 0)
    assert tokenizer.id_of("<extra_id_0>") == 32_099
    ids = tokenizer.encode("Thank you <extra_id_0> me")
    assert ids == [1562, 25, 32_099, 140, 1]
    assert tokenizer.decode(ids) == "Thank you me"


def test_albert_is_as_transformers_reads_it(shared: Path, texts: list[str]) -> None:
    from transformers import AlbertTokenizer

    folder = shared / "weights/albert-v2-tokenizer"
    theirs = AlbertTokenizer.from_pretrained(folder)
    ours = read_tokenizer(folder)
    assert ours is not None
    assert (ours.cls, ours.sep, ours.mask, ours.pad) == (2, 3, 4, 0)
    # transformers makes added tokens of these pieces and so loses the space before them; SentencePiece does not.
    sample = [text for text in texts if text.strip() and not set(text) & set('()"-.–£€')]
    assert len(sample) > 200
    assert ours.encode_batch(sample) == theirs(sample)["input_ids"]
    assert ours.encode("A [MASK] Café", pair="Yes") == theirs("A [MASK] Café", "Yes")["input_ids"]


def _bytes(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


def _piece(text: str, score: bytes = b"\x00\x00\x80\xbf", kind: int = 1) -> bytes:
    return _bytes(1, _bytes(1, text.encode()) + b"\x15" + score + bytes([0x18, kind]))


_WHOLE = _piece("<unk>", kind=2) + _piece("<s>", kind=3) + _piece("</s>", kind=3) + _piece("▁a")


def test_a_file_made_by_hand_reads(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(_WHOLE)
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer is not None
    assert tokenizer.encode("a a") == [1, 3, 3]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (_WHOLE[:-3], "runs past the end"),
        (b"\x0a\xff\xff\xff\xff\x0f", "runs past the end"),
        (b"\x0a" + b"\xff" * 11, "longer than ten bytes"),
        (b"\x0b", "unknown type 3"),
        (b"\x00\x00", "number 0"),
        (b"", "lies outside the vocabulary of 0"),
        (_WHOLE + _piece("b", score=b"\x00\x00\xc0\x7f"), "pieces[4].score"),
        (_WHOLE + _piece("b", kind=9), "pieces[4].type"),
        (_WHOLE + _piece(""), "is empty"),
        (_WHOLE + _bytes(1, _bytes(1, b"\xff")), "no UTF-8"),
        (_WHOLE + b"\x08\x05", "bytes were expected"),
        (_WHOLE + _bytes(2, b"\x18\x03"), "neither unigram (1) nor BPE (2)"),
        (_WHOLE + _bytes(2, b"\xc0\x02\x63"), "unk=99"),
        (_WHOLE + _piece("▁a"), "stands 2 times"),
    ],
)
def test_a_lying_file_is_one_error(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(data)
    with pytest.raises(TokenizerError) as raised:
        read_sentencepiece(path)
    assert expected in str(raised.value)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        model = parse_model(_WHOLE + data, "noise")
    except TokenizerError:
        return
    assert len(model.pieces) >= 4
