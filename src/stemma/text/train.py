"""Text -> a new Tokenizer, the same one on every run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from stemma.errors import Fault, TokenizerError
from stemma.text import assemble
from stemma.text.tokenizer import ROLES, Kind, Roles, Tokenizer
from stemma.text.unigram import train_unigram
from stemma.text.vocabulary import Merge, check

_SPECIAL: dict[Kind, dict[str, str]] = {
    "bytebpe": {"bos": "<|endoftext|>", "eos": "<|endoftext|>"},
    "bpe": {"unk": "<unk>", "bos": "<s>", "eos": "</s>"},
    "wordpiece": {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    "unigram": {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"},
}
_WHERE = "train"
_CHUNK = 4096


@dataclass(frozen=True)
class _Plan:
    """What to learn: how many tokens, the special ones in the order of their ids, and their roles."""

    size: int
    marks: list[str]
    roles: dict[str, str]
    lowercase: bool


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
        special: the token of each role (`bos`, `eos`, `pad`, ...); None: what the kind's model has.
        extra: further special tokens, which get the ids after those.
        lowercase: whether a WordPiece vocabulary is one of small letters.

    Raises:
        TokenizerError: an unknown kind or role, no text, or a size that cannot hold the special tokens and the bytes.

    >>> tokenizer = train(["low lower lowest"] * 3, vocab_size=260)
    >>> [tokenizer.text_of(i) for i in tokenizer.encode("lower")]
    ['low', 'e', 'r']
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
    backend = _TRAINERS[kind](_Plan(vocab_size, marks, roles, lowercase), _texts(source))
    if (size := backend.get_vocab_size()) > vocab_size:
        rule = f"is less than the {size} that the text's characters need"
        raise TokenizerError(_WHERE, Fault("vocab_size", vocab_size, rule, "ask for a larger vocabulary"))
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


def _learn(
    texts: Iterable[str],
    size: int,
    first: Sequence[str],
    splitter: pre_tokenizers.PreTokenizer,
    normalizer: normalizers.Normalizer | None = None,
    **options: Any,
) -> tuple[dict[str, int], list[Merge]]:
    """Learn the tokens and merges of BPE (Sennrich et al. 2016, section 3.2); `first` get the first ids."""
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = splitter
    if normalizer is not None:
        learner.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(first), show_progress=False, **options)
    learner.train_from_iterator(texts, trainer)
    state = json.loads(learner.model.__getstate__())
    return state["vocab"], [(left, right) for left, right in state["merges"]]


def _train_bytebpe(plan: _Plan, texts: Iterable[str]) -> tokenizers.Tokenizer:
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab, merges = _learn(texts, plan.size, plan.marks, splitter, initial_alphabet=alphabet)
    return assemble.byte_bpe(vocab, merges, _WHERE)


def _sentence(rules: assemble.SentenceRules) -> tuple[normalizers.Normalizer, pre_tokenizers.PreTokenizer]:
    """What a text becomes before pieces are learnt, and where its words begin."""
    backend = rules.give(tokenizers.Tokenizer(models.BPE()))
    return backend.normalizer, pre_tokenizers.Split(assemble.SPACE, behavior="merged_with_next")


def _train_bpe(plan: _Plan, texts: Iterable[str]) -> tokenizers.Tokenizer:
    rules = assemble.SentenceRules(byte_pieces=True)
    normalizer, splitter = _sentence(rules)
    first = [*plan.marks, *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab, merges = _learn(texts, plan.size, first, splitter, normalizer)
    return assemble.sentence_bpe(vocab, merges, _WHERE, rules, unk=plan.roles["unk"])


def _count_words(
    texts: Iterable[str], normalizer: normalizers.Normalizer, splitter: pre_tokenizers.PreTokenizer
) -> dict[str, int]:
    """The words of texts with their counts; sorted, so that the order of the texts cannot matter."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    return dict(sorted(counts.items()))


def _train_wordpiece(plan: _Plan, texts: Iterable[str]) -> tokenizers.Tokenizer:
    unk = plan.roles["unk"]
    rules = assemble.wordpiece({unk: 0}, _WHERE, unk=unk, lowercase=plan.lowercase)
    words = _count_words(texts, rules.normalizer, rules.pre_tokenizer)
    # The library numbers these in the order of a randomly seeded hash map, unless they are there before.
    inner = sorted({f"##{character}" for word in words for character in word[1:]})
    repeated = (
        "\n".join([word] * min(_CHUNK, count - done))
        for word, count in words.items()
        for done in range(0, count, _CHUNK)
    )
    splitter = pre_tokenizers.Split("\n", behavior="removed")
    vocab, _ = _learn(repeated, plan.size, [*plan.marks, *inner], splitter, continuing_subword_prefix="##")
    return assemble.wordpiece(vocab, _WHERE, unk=unk, lowercase=plan.lowercase)


def _train_unigram(plan: _Plan, texts: Iterable[str]) -> tokenizers.Tokenizer:
    rules = assemble.SentenceRules(trim=True, before=(normalizers.NFKC(),))
    pieces = train_unigram(_count_words(texts, *_sentence(rules)), plan.size - len(plan.marks))
    marks = [(mark, 0.0) for mark in plan.marks]
    return assemble.unigram([*marks, *pieces], _WHERE, rules, unk=plan.marks.index(plan.roles["unk"]))


_TRAINERS: dict[Kind, Callable[[_Plan, Iterable[str]], tokenizers.Tokenizer]] = {
    "bytebpe": _train_bytebpe,
    "bpe": _train_bpe,
    "wordpiece": _train_wordpiece,
    "unigram": _train_unigram,
}


def _frame(backend: tokenizers.Tokenizer, kind: Kind, roles: Mapping[str, str]) -> None:
    cls, sep = roles.get("cls"), roles.get("sep")
    if cls is not None and sep is not None:
        assemble.frame(backend, f"{cls}:0 $A:0 {sep}:0", f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1")
    elif kind == "bpe":
        assemble.frame_sentence(backend, roles.get("bos"), None)
    elif kind == "unigram":
        assemble.frame_sentence(backend, None, roles.get("eos"))
