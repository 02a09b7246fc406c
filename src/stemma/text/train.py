"""Text -> a new Tokenizer, the same one on every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from stemma.errors import Fault, TokenizerError
from stemma.text import assemble
from stemma.text.tokenizer import ROLES, Kind, Roles, Tokenizer
from stemma.text.vocabulary import check

_SPECIAL: dict[Kind, dict[str, str]] = {
    "bytebpe": {"bos": "<|endoftext|>", "eos": "<|endoftext|>"},
    "bpe": {"unk": "<unk>", "bos": "<s>", "eos": "</s>"},
    "wordpiece": {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    "unigram": {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"},
}
_WHERE = "train"


def train(
    source: Iterable[str | Path],
    *,
    kind: Kind = "bytebpe",
    vocab_size: int,
    special: Mapping[str, str] | None = None,
    extra: Iterable[str] = (),
    lowercase: bool = True,
) -> Tokenizer:
    """Learn a vocabulary from text.

    Args:
        source: texts, or paths of UTF-8 files that are read line by line.
        kind: `bytebpe` as GPT-2, `bpe` as LLaMA, `wordpiece` as BERT or `unigram` as T5.
        vocab_size: how many tokens at most, special ones included.
        special: the token of each role (`bos`, `eos`, `pad`, `unk`, `mask`, `cls`, `sep`); None: what the kind's model has.
        extra: further special tokens, which get the ids after those.
        lowercase: whether a WordPiece vocabulary is one of small letters.

    Raises:
        TokenizerError: an unknown kind or role, no text, or a size that cannot hold the special tokens and the bytes.

    >>> tokenizer = train(["low lower lowest"] * 3, vocab_size=260)
    >>> [tokenizer.text_of(i) for i in tokenizer.encode("lower")]
    ['low', 'er']
    """
    if kind not in _SPECIAL:
        raise TokenizerError(_WHERE, Fault("kind", kind, "is no kind of vocabulary", f"use {', '.join(_SPECIAL)}"))
    roles = dict(_SPECIAL[kind] if special is None else special)
    marks = list(dict.fromkeys([*roles.values(), *extra]))
    least = len(marks) + (256 if kind in ("bytebpe", "bpe") else 1)
    faults = [
        Fault("special", role, "is no role", f"use one of {', '.join(ROLES)}") for role in roles if role not in ROLES
    ]
    if vocab_size < least:
        faults.append(Fault("vocab_size", vocab_size, f"must be at least {least}", "ask for a larger vocabulary"))
    if kind != "bytebpe" and "unk" not in roles:
        faults.append(Fault("special", sorted(roles), "name no unk, which this kind needs", "add it"))
    if isinstance(source, (str, Path)):
        faults.append(Fault("source", source, "must be a list or an iterator", "put it in a list"))
    check(_WHERE, faults)
    backend = _TRAINERS[kind](_texts(source), vocab_size, marks, roles, lowercase)
    assemble.mark(backend, marks)
    _frame(backend, kind, roles)
    return Tokenizer(backend, Roles(**{role: backend.token_to_id(token) for role, token in roles.items()}))


def _texts(source: Iterable[str | Path]) -> Iterator[str]:
    empty = True
    for item in source:
        if isinstance(item, str):
            empty = empty and not item
            yield item
            continue
        try:
            with open(item, encoding="utf-8") as file:
                for line in file:
                    empty = False
                    yield line
        except (OSError, UnicodeDecodeError) as error:
            fault = Fault("source", str(item), f"cannot be read: {error}", "give UTF-8 files")
            raise TokenizerError(_WHERE, fault) from error
    if empty:
        raise TokenizerError(_WHERE, Fault("source", [], "holds no text", "give texts or files"))


def _words(
    texts: Iterable[str], normalizer: normalizers.Normalizer | None, splitter: pre_tokenizers.PreTokenizer
) -> dict[str, int]:
    """Count the words of texts; sorted, so that the order of the texts cannot matter."""
    counts: Counter[str] = Counter()
    for text in texts:
        clean = normalizer.normalize_str(text) if normalizer is not None else text
        counts.update(word for word, _ in splitter.pre_tokenize_str(clean))
    return dict(sorted(counts.items()))


def _learn_merges(
    words: Mapping[str, int], size: int, first: list[str], prefix: str = ""
) -> tuple[list[str], list[assemble.Merge]]:
    """Learn merges: the tokens in the order of their ids, which begin with `first`, and the merges."""
    learner = tokenizers.Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=first, continuing_subword_prefix=prefix or None, show_progress=False
    )
    learner.pre_tokenizer = pre_tokenizers.Split("\n", behavior="removed")
    learner.train_from_iterator(("\n".join([word] * count) for word, count in words.items()), trainer)
    vocab = learner.get_vocab()
    raw = learner.model.__getstate__()
    return sorted(vocab, key=vocab.__getitem__), [tuple(pair) for pair in raw["merges"]]


def _frame(backend: tokenizers.Tokenizer, kind: Kind, roles: Mapping[str, str]) -> None:
    cls, sep = roles.get("cls"), roles.get("sep")
    if cls is not None and sep is not None:
        assemble.frame(backend, f"{cls}:0 $A:0 {sep}:0", f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1")
    elif kind == "bpe":
        assemble.frame_sentence(backend, roles.get("bos"), None)
    elif kind == "unigram":
        assemble.frame_sentence(backend, None, roles.get("eos"))
