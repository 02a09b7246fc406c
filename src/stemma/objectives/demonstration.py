"""What an objective does to one sentence, as strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stemma.data import Ids, Piece, Reading, Row
from stemma.errors import Fault, InputError
from stemma.families import BART, BERT, ELECTRA, ELMO, GLM, GPT2, ORCA, SPANBERT, T5, TRANSFORMER, XLM, XLNET
from stemma.objectives.catalogue import objective
from stemma.objectives.example import Example, Targets
from stemma.objectives.objective import Setting
from stemma.objectives.pairs import framed
from stemma.objectives.passes import Pass
from stemma.objectives.vocabulary import Vocabulary
from stemma.spec.architecture import Architecture
from stemma.spec.ends import Embedding
from stemma.spec.lineage import Family, Shape
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, Scores
from stemma.text import Tokenizer, train

LENGTH, _FRAME = 512, 8
"""Tokens of a row, and what is kept of them for the marks around texts."""

_MARKS = {"pad": "[PAD]", "unk": "[UNK]"}
_FRAMED = _MARKS | {"cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_ENDED = _MARKS | {"eos": "</s>", "mask": "[MASK]"}
_BOUNDED = _ENDED | {"bos": "<s>"}
_SMALL: Mapping[str, Any] = dict(n_layers=1, d_model=64, n_heads=1)
_SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))


@dataclass(frozen=True)
class Usual:
    """What an objective is shown with, where nothing else is asked for.

    Args:
        family: whose network it pretrained.
        special: the special token of each role.
        extra: further special tokens.
        whole: whether each word is a token in the vocabulary that is made for it.
        changes: of the family's architecture.
        options: of the objective, where it has some that must be given.
    """

    family: Family
    special: Mapping[str, str] = field(default_factory=lambda: _FRAMED)
    extra: tuple[str, ...] = ()
    whole: bool = True
    changes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def spec(self, vocab_size: int) -> Shape:
        """A small network of the family, with the head that pretraining uses."""
        if self.family.shape is Recurrent:
            spec: Recurrent = self.family.build()
            return spec.change(heads=(Scores(vocab_size),))
        small: Architecture = self.family.build(**_SMALL, vocab_size=vocab_size, **self.changes)
        return small

    def tokenizer(self, texts: Sequence[str]) -> Tokenizer:
        """One for these texts alone."""
        n_marks, n_characters = len(self.special) + len(self.extra), len(set("".join(texts)))
        # A character may stand there twice, for a word's beginning and for its middle; most do not, which leaves room.
        size = 30_000 if self.whole else n_marks + 5 * n_characters // 2
        return train(texts, kind="wordpiece", vocab_size=size, special=self.special, extra=self.extra, lowercase=False)


USUAL: Mapping[str, Usual] = {
    "causal": Usual(GPT2, _BOUNDED),
    "prefix": Usual(GPT2, _BOUNDED),
    "mlm": Usual(BERT),
    "whole-word": Usual(BERT, whole=False),
    "span": Usual(SPANBERT),
    "nsp": Usual(BERT),
    "sop": Usual(BERT),
    "rtd": Usual(ELECTRA),
    "plm": Usual(XLNET),
    "t5": Usual(T5, _ENDED, _SENTINELS),
    "bart": Usual(BART, _BOUNDED),
    "glm": Usual(GLM, _FRAMED | {"bos": "[sop]", "eos": "[eop]"}),
    "tlm": Usual(XLM, changes={"embedding": Embedding(languages=2, norm=True)}),
    "elmo": Usual(ELMO, _BOUNDED),
    "translation": Usual(TRANSFORMER, _ENDED),
    "imitation": Usual(ORCA, _BOUNDED),
    "distill": Usual(GPT2, _BOUNDED, options={"teacher": "smollm2"}),
    "neighbours": Usual(BERT),
}

_CLASSES: Mapping[str, tuple[str, ...]] = {
    "sentence": ("it follows", "it is from another text"),
    "order": ("in order", "swapped"),
    "replaced": ("original", "replaced"),
    "neighbours": ("which of all second pieces is its neighbour",),
}
"""How the classes of the terms read that ask for no token."""


@dataclass(frozen=True)
class Shown:
    """A sentence before and after.

    Args:
        objective: its name.
        original: the sentence's tokens, and those of its partner.
        tokens: as the network reads them, an encoder's where there are two stacks.
        inputs: whatever else the network reads, by the names in `stemma.nn.Inputs`.
        targets: by the name of the loss's term, each with its place and what is right there.
    """

    objective: str
    original: list[str]
    tokens: list[str]
    inputs: Mapping[str, Any]
    targets: Mapping[str, list[dict[str, Any]]]


def demonstrate(
    name: str, text: str, *, pair: str | None = None, tokenizer: Tokenizer | None = None, seed: int = 0
) -> Shown:
    """What an objective makes of a text.

    Args:
        name: the objective's.
        text: a sentence.
        pair: its translation, an answer, or a sentence from elsewhere, where the objective reads two texts; the text
            itself where not given.
        tokenizer: its vocabulary; one that is made of the texts where not given.
        seed: of what is drawn.

    Raises:
        InputError: for an unknown name, a text that is too long, or a tokenizer that lacks what is needed.

    >>> shown = demonstrate("mlm", "one two three four")
    >>> shown.tokens, shown.targets
    (['[CLS]', '[MASK]', 'two', 'three', 'four', '[SEP]'], {'masked': [{'place': 1, 'token': 'one'}]})
    """
    kind, usual = objective(name), USUAL[name]
    reader = tokenizer or usual.tokenizer([text, pair or ""])
    spec = usual.spec(len(reader))
    read = spec.tokens if isinstance(spec, Recurrent) else None
    vocabulary = Vocabulary.of(reader, max_characters=read.max_characters if isinstance(read, Characters) else None)
    setting, only = Setting(vocabulary, LENGTH, spec), Pass((kind(**usual.options),))
    ids = [np.array(reader.encode(one, add_special=False), dtype=np.int64) for one in (text, pair) if one is not None]
    if faults := [*only.faults(setting), *_misfits(kind.reads, pair, sum(map(len, ids)))]:
        raise InputError(name, faults)
    row = Row(_pieces(kind.reads, ids, vocabulary), key=(seed,))
    return _shown(name, reader, ids, only.prepare(row, setting), vocabulary)


def _misfits(reads: Reading, pair: str | None, n_tokens: int) -> Iterator[Fault]:
    """What is wrong with texts for an objective that reads so."""
    if reads not in ("pairs", "neighbours") and pair is not None:
        yield Fault("pair", pair, "is not read by an objective that reads one text", "leave it out")
    if n_tokens > LENGTH - _FRAME:
        yield Fault("text", f"{n_tokens} tokens", f"is longer than a row of {LENGTH}", "give a sentence")


def _pieces(reads: Reading, ids: Sequence[Ids], vocabulary: Vocabulary) -> tuple[Piece, ...]:
    """The texts as a corpus that is read so would give them; a text alone is its own second one."""
    both = ids[0], ids[-1]
    match reads:
        case "pairs":
            return (Piece(both, languages=(0, 1)),)
        case "neighbours":
            return tuple(Piece((part,), document=number) for number, part in enumerate(both))
    return (Piece((framed(ids[0], vocabulary.frame),)),)


def _shown(name: str, reader: Tokenizer, texts: Sequence[Ids], example: Example, vocabulary: Vocabulary) -> Shown:
    def words(ids: Iterable[int]) -> list[str]:
        return [reader.token_of(int(token)) for token in ids]

    def answers(term: str, targets: Targets) -> list[dict[str, Any]]:
        classes = _CLASSES.get(term)
        right = [classes[number] for number in targets.ids] if classes else words(targets.ids)
        return [{"place": place, "token": one} for place, one in zip(targets.places.tolist(), right, strict=True)]

    inputs: dict[str, Any] = {key: ids.tolist() for key, ids in example.inputs.items()}
    tokens = inputs.pop("tokens")
    if "decoder_tokens" in inputs:
        inputs["decoder_tokens"] = words(inputs["decoder_tokens"])
    if vocabulary.spelt is not None:
        spelt = {tuple(characters): token for token, characters in enumerate(vocabulary.spelt.tolist())}
        tokens = [spelt[tuple(characters)] for characters in tokens]
    targets = {term: answers(term, asked) for term, asked in example.targets.items()}
    for one in targets.get("replaced", ()):
        # What the generator draws there is yet to come.
        if any(one["place"] == masked["place"] for masked in targets["masked"]):
            one["token"] = "original only if that is drawn"
    return Shown(name, words(np.concatenate(texts)), words(tokens), inputs, targets)
