"""Every rule fires, all faults come at once, and each names field, value, rule and remedy."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from stemma.errors import Fault, SpecError
from stemma.spec import (
    Architecture,
    Bias,
    Decoder,
    Dropout,
    Embedding,
    Encoder,
    EncoderDecoder,
    LanguageModelHead,
    LayerNorm,
    Learned,
    MaskedLMHead,
    NextSentenceHead,
    Normal,
    Parallel,
    Plain,
    Pooler,
    RelativeBuckets,
    Rotary,
    Sinusoidal,
    SlidingWindow,
    check,
)

SOUND: dict[str, Any] = dict(n_layers=2, d_model=24, n_heads=6, vocab_size=11)
ENCODER: dict[str, Any] = dict(stacks=Encoder(), heads=())

# What is wrong, the field that is blamed, and words of the message.
BROKEN: list[tuple[dict[str, Any], str, tuple[str, ...]]] = [
    (dict(n_layers=0), "n_layers", ("n_layers=0", "at least 1", "give the size")),
    (dict(vocab_size=True), "vocab_size", ("vocab_size=True", "whole number")),
    (dict(d_ff=96.0), "d_ff", ("d_ff=96.0", "whole number")),
    (
        dict(position="rotary"),
        "position",
        ("position='rotary'", "must be Learned or Sinusoidal", "write position=Learned("),
    ),
    (dict(heads=LanguageModelHead()), "heads", ("must be a tuple", "write heads=(LanguageModelHead(")),
    (dict(d_model=4), "d_model", ("d_model=4 must be at least n_heads=6", "use fewer heads")),
    (dict(initialisation=Normal(std=-1)), "initialisation.std", ("=-1 must not be negative", "0.02")),
    (dict(norm=LayerNorm(eps=float("nan"))), "norm.eps", ("=nan must be a finite number", "write eps=1.0")),
    (dict(bias=Bias(1)), "bias.inputs", ("=1 must be True or False", "write inputs=True")),  # type: ignore[arg-type]
    (dict(n_kv_heads=4), "n_kv_heads", ("n_kv_heads=4 must divide n_heads=6", "use 1, 2, 3 or 6")),
    (dict(n_heads=5), "n_heads", ("n_heads=5 must divide d_model=24", "give d_head")),
    (dict(position=Learned(0)), "position.max_positions", ("=0", "at least 1", "longest input")),
    (dict(position=Rotary(base=1.0)), "position.base", ("=1.0", "exceed 1", "10000")),
    (dict(position=Rotary(), d_head=5), "d_head", ("d_head=5 must be even", "even width")),
    (dict(position=RelativeBuckets(n_buckets=6)), "position.n_buckets", ("=6", "multiple of 4", "T5 uses 32")),
    (dict(position=RelativeBuckets(32, 32)), "position.max_distance", ("=32 must exceed n_buckets=32", "T5 uses 128")),
    (dict(position=Sinusoidal(), d_model=25, d_head=8), "d_model", ("d_model=25 must be even", "even width")),
    (dict(norm=LayerNorm(eps=0.0)), "norm.eps", ("=0.0 must be positive", "1e-5")),
    (
        dict(feedforward=Plain("swish")),
        "feedforward.activation",
        ("='swish' must be 'relu' or", "silu", "write activation='relu'"),
    ),  # type: ignore[arg-type]
    (dict(attention_scale=0.0), "attention_scale", ("=0.0 must be positive", "d_head ** -0.5")),
    (dict(attention=SlidingWindow(0)), "attention.window", ("=0", "at least 1", "in tokens")),
    (dict(embedding=Embedding(segments=-1), **ENCODER), "embedding.segments", ("=-1 must not be negative", "use 0")),
    (dict(dropout=Dropout(attention=1.0)), "dropout.attention", ("=1.0 must lie in [0, 1)", "0.1")),
    (dict(stacks=EncoderDecoder(0)), "stacks.n_decoder_layers", ("=0", "at least 1", "leave it out")),
    (dict(embedding=Embedding(segments=2)), "embedding.segments", ("=2 needs an encoder alone", "segments=0")),
    (dict(placement=Parallel(), **ENCODER), "placement", ("=Parallel() needs a decoder alone", "PreNorm()")),
    (dict(heads=(LanguageModelHead(), LanguageModelHead(tied=False))), "heads", ("must appear once", "leave out")),
    (dict(heads=(Pooler(),)), "heads", ("'Pooler' needs an encoder alone", "use LanguageModelHead()")),
    (
        ENCODER | dict(heads=(LanguageModelHead(),)),
        "heads",
        ("'LanguageModelHead' needs a decoder", "use MaskedLMHead()"),
    ),
    (ENCODER | dict(heads=(NextSentenceHead(),)), "heads", ("reads the pooled vector", "add Pooler()")),
    (ENCODER | dict(heads=(MaskedLMHead("elu"),)), "heads.MaskedLMHead.activation", ("='elu' must be", "gelu")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("changes", "field", "words"), BROKEN, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_broken_rule_is_named(changes: dict[str, Any], field: str, words: tuple[str, ...]) -> None:
    with pytest.raises(SpecError) as caught:
        Architecture(**SOUND | changes)
    assert [fault.field for fault in caught.value.faults] == [field]
    assert all(word in str(caught.value) for word in words), caught.value


def test_every_rule_was_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule without an entry in `BROKEN` fails here."""
    path = Path(check.__file__)
    rules = {
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Fault"
    }
    fired = set()

    def record(*parts: Any) -> Fault:
        fired.add(sys._getframe(1).f_lineno)
        return Fault(*parts)

    monkeypatch.setattr(check, "Fault", record)
    for changes, _, _ in BROKEN:
        with pytest.raises(SpecError):
            Architecture(**SOUND | changes)
    assert fired == rules


def test_all_faults_come_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        Architecture(**SOUND | dict(n_kv_heads=4, position=Rotary(base=0.5), dropout=Dropout(residual=2.0)))
    assert [fault.field for fault in caught.value.faults] == ["n_kv_heads", "position.base", "dropout.residual"]
    assert str(caught.value).startswith("architecture: 3 faults\n  - n_kv_heads=4 must divide")


def test_faults_of_type_come_at_once_and_first() -> None:
    """A class where a value is due is one of them; rules between fields wait until the types are right."""
    with pytest.raises(SpecError) as caught:
        Architecture(**SOUND | dict(n_layers=0, vocab_size=-1, n_kv_heads=4, stacks=Decoder))
    assert [fault.field for fault in caught.value.faults] == ["n_layers", "vocab_size", "stacks"]


def test_divisors_in_words() -> None:
    assert check.divisors(1) == "1"
    assert check.divisors(7) == "1 or 7"
