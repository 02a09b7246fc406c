"""The vocabulary of a run: a checkpoint's, or one that is learnt from its corpus in the style of the family."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from stemma.checkpoints import locate, read_gguf
from stemma.data import Source, documents
from stemma.errors import Fault, InputError
from stemma.spec.lineage import Family
from stemma.text import Tokenizer, from_gguf, read_tokenizer, train
from stemma.text.tokenizer import Kind


@dataclass(frozen=True)
class Style:
    """How a family cuts its text.

    Args:
        kind: of vocabulary.
        special: the token of each role, in the order of their ids.
        extra: further special tokens.
        lowercase: whether a WordPiece vocabulary is one of small letters.
    """

    kind: Kind
    special: Mapping[str, str]
    extra: tuple[str, ...] = ()
    lowercase: bool = True


_MARKS = {"pad": "<pad>", "unk": "<unk>", "bos": "<s>", "eos": "</s>"}
_BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_BERT_PIECES = {"pad": "<pad>", "unk": "<unk>", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
# RoBERTa counts positions from the id of its padding on, which is 1.
_ROBERTA = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
_SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))

STYLES: Mapping[str, Style] = {
    "transformer": Style("bpe", _MARKS),
    "cove": Style("bpe", _MARKS),
    "gpt": Style("bpe", {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}),
    "gpt2": Style("bytebpe", {"bos": "<|endoftext|>", "eos": "<|endoftext|>"}),
    "bert": Style("wordpiece", _BERT),
    "mbert": Style("wordpiece", _BERT, lowercase=False),
    "xlm": Style("bpe", {**_MARKS, "cls": "</s>", "sep": "</s>", "mask": "<special1>"}),
    "xlnet": Style("unigram", {**_MARKS, "sep": "<sep>", "cls": "<cls>", "mask": "<mask>"}),
    "roberta": Style("bytebpe", _ROBERTA),
    "spanbert": Style("wordpiece", _BERT, lowercase=False),
    "albert": Style("unigram", _BERT_PIECES),
    "xlm-r": Style("unigram", _ROBERTA),
    "t5": Style("unigram", {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}, _SENTINELS),
    "bart": Style("bytebpe", {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}),
    "glm": Style("wordpiece", {**_BERT, "bos": "<|startofpiece|>", "eos": "<|endofpiece|>"}),
    "llama": Style("bpe", {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}),
}
"""Of each family whose style is not its parent's."""


def style_of(family: Family) -> Style:
    """That of a family, or of its nearest ancestor that has one.

    >>> from stemma.families import MISTRAL
    >>> style_of(MISTRAL).kind
    'bpe'
    """
    return next(STYLES[one.name] for one in (family, *family.ancestors) if one.name in STYLES)


@dataclass(frozen=True)
class NewTokenizer:
    """A vocabulary to be learnt from the documents of the run, of which the held-out ones are some.

    Args:
        size: how many tokens at most, special ones included.
        kind: of vocabulary; where it or another of these is not given, it is as the family has it.
        special: the token of each role, in the order of their ids.
        extra: further special tokens.
        lowercase: whether a WordPiece vocabulary is one of small letters.
        most: characters of text that it is learnt from.
    """

    size: int = 8000
    kind: Kind | None = None
    special: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] | None = None
    lowercase: bool | None = None
    most: int = 100_000_000

    def learn(self, sources: Iterable[Source], family: Family) -> Tokenizer:
        """The tokenizer.

        Args:
            sources: whose documents are read until there are enough.
            family: whose style it has.

        Raises:
            TokenizerError: a size that cannot hold the special tokens and the characters.
        """
        style = style_of(family)
        return train(
            _texts(sources, self.most),
            kind=self.kind or style.kind,
            vocab_size=self.size,
            special=self.special or style.special,
            extra=style.extra if self.extra is None else self.extra,
            lowercase=style.lowercase if self.lowercase is None else self.lowercase,
        )


def open_tokenizer(name: str) -> Tokenizer:
    """That of a checkpoint, or one that stands in a folder by itself.

    Raises:
        SourceError: where the name leads nowhere.
        InputError: where no tokenizer is.
    """
    path = locate(name).path
    found = read_tokenizer(path) if path.is_dir() else from_gguf(read_gguf(path).metadata)
    if found is None:
        raise InputError("run", Fault("tokenizer", name, "holds none", "name a folder with tokenizer.json"))
    return found


def _texts(sources: Iterable[Source], most: int) -> Iterator[str]:
    for source in sources:
        for document in documents(source):
            for text in document:
                yield text
                most -= len(text)
                if most <= 0:
                    return
