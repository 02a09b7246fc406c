"""Needs that several objectives have: a network of some kind, tokens with a part to play, values in their range."""

from __future__ import annotations

from collections.abc import Iterator

from stemma.objectives.lacking import Need, has
from stemma.objectives.vocabulary import Vocabulary
from stemma.spec.architecture import Architecture
from stemma.spec.ends import LanguageModelHead
from stemma.spec.lineage import Shape
from stemma.spec.parts import Decoder, EncoderDecoder, Permutation


def held(token: int | None) -> int:
    """A token of which it is known that there is one."""
    assert token is not None, "a fault where it is missing"
    return token


def stacks(spec: Shape, kind: type[Decoder] | type[EncoderDecoder] | type[Permutation]) -> Need:
    """A network of these stacks that scores the vocabulary."""
    held = isinstance(spec, Architecture) and isinstance(spec.stacks, kind) and has(spec, LanguageModelHead)
    return Need(held, f"a network that is {kind.label}, with a head for tokens", "use the spec of such a family")


def roles(vocabulary: Vocabulary, *names: str) -> Iterator[Need]:
    """Tokens with these parts to play."""
    for name in names:
        held = getattr(vocabulary.roles, name) is not None
        yield Need(held, f"a token that is {name}", f"train the tokenizer with the role `{name}`")


def start(vocabulary: Vocabulary) -> Need:
    """A token with which a decoder begins."""
    return Need(vocabulary.start is not None, "a token with which the decoder begins", "give Vocabulary.of a start")


def end(vocabulary: Vocabulary) -> Need:
    """A token that stands after a text."""
    return Need(vocabulary.frame.after, "a token that ends a text", "train the tokenizer with the role `eos`")


def share(name: str, value: float) -> Need:
    """A value above 0 and below 1."""
    return Need(0 < value < 1, f"{name}={value} to lie between 0 and 1", "use a share such as 0.15")


def at_least_one(name: str, value: float) -> Need:
    """A value of 1 or more."""
    return Need(value >= 1, f"{name}={value} to be at least 1", "use a length such as 3")
