"""A vocabulary of a run: learnt in its family's style, or another's."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from stemma.data import Texts
from stemma.errors import InputError, SourceError, SpecError
from stemma.families import catalogue, family
from stemma.spec import Rotary
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, Words
from stemma.training import Network, NewTokenizer
from stemma.training.vocabularies import open_tokenizer, style_of

TEXTS = [f"The {word} is Green." for word in ("tree", "grass", "leaf", "frog", "pea")] * 4
CORPUS = [Texts(items=TEXTS)]


@pytest.mark.parametrize("of", catalogue(), ids=lambda of: of.name)
def test_every_family_has_a_style_with_the_roles_that_it_reads(of: object) -> None:
    assert hasattr(of, "name")
    style = style_of(family(of.name))
    made = NewTokenizer(size=380).learn(CORPUS, family(of.name))
    assert made.kind == style.kind
    for place, token in enumerate(dict.fromkeys([*style.special.values(), *style.extra])):
        assert made.id_of(token) == place
    for role, token in style.special.items():
        assert getattr(made.roles, role) == made.id_of(token)
    assert made.decode(made.encode("The tree is Green."), skip_special=True).strip().lower() == "the tree is green."


def test_bert_is_small_and_multilingual_bert_is_not() -> None:
    small, large = (NewTokenizer(size=80).learn(CORPUS, family(name)) for name in ("bert", "mbert"))
    assert small.encode("GREEN") == small.encode("green")
    assert large.encode("Green") != large.encode("green")
    assert NewTokenizer(size=80, lowercase=False).learn(CORPUS, family("bert")).encode("Green") == large.encode("Green")


def test_what_is_told_wins() -> None:
    made = NewTokenizer(size=300, kind="bpe", special={"unk": "?", "eos": "."}, extra=("<k>",)).learn(
        CORPUS, family("t5")
    )
    assert (made.kind, made.id_of("?"), made.id_of("."), made.id_of("<k>")) == ("bpe", 0, 1, 2)
    assert made.id_of("<extra_id_0>") is None


def test_no_more_is_read_than_asked_for() -> None:
    read = []

    class Stream:
        def __iter__(self):  # type: ignore[no-untyped-def]
            for number in range(1000):
                read.append(number)
                yield "ten of them"

    NewTokenizer(size=280, most=100).learn([Texts(items=Stream(), name="s")], family("gpt2"))
    assert len(read) < 1000


def test_a_tokenizer_is_opened_by_name_or_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = NewTokenizer(size=300).learn(CORPUS, family("gpt2"))
    made.save(tmp_path / "t")
    assert open_tokenizer(str(tmp_path / "t")).encode("tree") == made.encode("tree")
    with pytest.raises(InputError, match="holds none"):
        open_tokenizer(str(tmp_path))
    with pytest.raises(SourceError):
        open_tokenizer("no-such-name")
    assert not [one for one in caplog.records if one.levelno > logging.INFO]


class TestNetwork:
    """A family at a size."""

    def test_the_vocabulary_is_as_large_as_the_tokenizer_unless_told(self) -> None:
        assert Network("gpt2", None, dict(n_layers=1, d_model=8, n_heads=2)).spec(77).vocab_size == 77
        told = Network("gpt2", None, dict(n_layers=1, d_model=8, n_heads=2, vocab_size=99))
        assert told.spec(77).vocab_size == 99

    def test_sizes(self) -> None:
        usual, large = Network("gpt2").spec(77), Network("gpt2", "345M").spec(77)
        assert (usual.n_layers, large.n_layers) == (12, 24)
        changed = Network("gpt2", "345M", {"n_layers": 2, "position": Rotary()}).spec(77)
        assert (changed.n_layers, changed.d_model, changed.position) == (2, 1024, Rotary())

    def test_recurrent_parts_have_the_vocabulary_too(self) -> None:
        words = Network("ulmfit").spec(77)
        assert isinstance(words, Recurrent)
        assert isinstance(words.tokens, Words)
        assert words.tokens.vocab_size == words.vocab_size == 77
        elmo = Network("elmo").spec(77)
        assert isinstance(elmo.tokens, Characters)

    @pytest.mark.parametrize(
        ("name", "size", "told"), [("gpt9", None, "is not in the tree"), ("gpt2", "9B", "size='9B' is no size of gpt2")]
    )
    def test_unknown(self, name: str, size: str | None, told: str) -> None:
        with pytest.raises(SpecError, match=told):
            Network(name, size)
