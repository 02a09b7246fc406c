"""Training: the same vocabulary on every run, and what it refuses."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stemma.errors import TokenizerError
from stemma.text import train
from stemma.text.unigram import train_unigram

_KINDS = ("bytebpe", "bpe", "wordpiece", "unigram")
_TEXT = [
    f"{a} {b}, {b}{c} {c}s über 日本 {a}ing" for a in ("walk", "talk", "low") for b in ("new", "old") for c in "xyz"
]
_PROGRAM = """
import hashlib, sys
from stemma.text import train
for kind in sys.argv[1:-1]:
    tokenizer = train([sys.argv[-1]], kind=kind, vocab_size=320)
    print(hashlib.sha256(tokenizer.backend.to_str().encode()).hexdigest())
"""


def test_every_process_learns_the_same() -> None:
    text = "\n".join(_TEXT)
    here = [hashlib.sha256(train([text], kind=k, vocab_size=320).backend.to_str().encode()).hexdigest() for k in _KINDS]  # type: ignore[arg-type]
    source = str(Path(__file__).resolve().parents[2] / "src")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r}){_PROGRAM}", *_KINDS, text]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert here == there


@pytest.mark.parametrize("kind", _KINDS)
def test_frequent_words_become_tokens(kind: Any, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n".join(_TEXT), encoding="utf-8")
    # SentencePiece-like vocabularies of this size still hold what the words are made of.
    tokenizer = train([tmp_path / "text.txt"], kind=kind, vocab_size=300 if kind in ("bytebpe", "bpe") else 60)
    ids = tokenizer.encode(" talking", add_special=False)
    assert len(ids) < len("talking")
    assert tokenizer.decode(ids).strip() == "talking"
    assert tokenizer.vocab_size <= 300


def test_special_tokens_come_first_in_order() -> None:
    special = {"bos": "<s>", "pad": "<pad>", "mask": "<mask>"}
    tokenizer = train(_TEXT, vocab_size=300, special=special, extra=["<a>", "<b>"])
    assert (tokenizer.bos, tokenizer.pad, tokenizer.mask) == (0, 1, 2)
    assert tokenizer.encode("<a><mask><b>") == [3, 2, 4]
    assert tokenizer.eos is None


def test_a_cased_vocabulary_keeps_capitals() -> None:
    tokenizer = train(["The Cat"] * 3, kind="wordpiece", vocab_size=60, lowercase=False)
    assert tokenizer.decode(tokenizer.encode("The Cat")) == "The Cat"


def test_unigram_is_a_distribution() -> None:
    import math

    pieces = train_unigram({"▁low": 9, "▁lower": 4, "▁lowest": 3, "▁slow": 2}, 14)
    assert math.isclose(sum(math.exp(score) for _, score in pieces), 1.0, rel_tol=1e-9)
    assert {"▁", "l", "o", "w", "e", "r", "s", "t"} < {piece for piece, _ in pieces}
    assert len(pieces) <= 14
    assert "▁low" in dict(pieces)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": "words", "vocab_size": 300}, "no kind of vocabulary"),
        ({"vocab_size": 10}, "must be at least 257"),
        ({"kind": "unigram", "vocab_size": 9}, "characters need"),
        ({"kind": "wordpiece", "vocab_size": 90, "special": {"pad": "[PAD]"}}, "name no unk"),
        ({"vocab_size": 300, "special": {"end": "</s>"}}, "is no role"),
    ],
)
def test_what_cannot_be_learnt_is_refused(options: Any, expected: str) -> None:
    with pytest.raises(TokenizerError, match=expected):
        train(_TEXT, **options)


def test_sources_that_hold_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="holds no text"):
        train([], vocab_size=300)
    with pytest.raises(TokenizerError, match="cannot be read"):
        train([tmp_path / "missing.txt"], vocab_size=300)
    with pytest.raises(TokenizerError, match="put it in a list"):
        train("one text", vocab_size=300)
