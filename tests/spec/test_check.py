"""Every rule fires, all faults come at once, and each names field, value, rule and remedy."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stemma.errors import Fault, SpecError
from stemma.spec import (
    Alternating,
    Architecture,
    Bias,
    BlockPositions,
    Decoder,
    Dropout,
    Embedding,
    Encoder,
    EncoderDecoder,
    Experts,
    LanguageModelHead,
    LayerNorm,
    Learned,
    MaskedLMHead,
    NextSentenceHead,
    Normal,
    Parallel,
    Permutation,
    Plain,
    Pooler,
    RelativeBuckets,
    RelativeSinusoidal,
    Rotary,
    Sinusoidal,
    SlidingWindow,
    TaskModules,
    Vision,
    check,
    rules,
)

SOUND: dict[str, Any] = dict(n_layers=2, d_model=24, n_heads=6, vocab_size=11)
ENCODER: dict[str, Any] = dict(stacks=Encoder(), heads=())

MODULES = TaskModules(n_layers=1, d_model=8, n_heads=2, d_ff=4)
VISION = Vision(image_size=8, patch_size=4, n_layers=2, d_model=6, n_heads=3, d_ff=4, token=3)

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
    (dict(position=Learned(0)), "position.max_positions", ("=0", "at least 1", "write max_positions=1")),
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
    (dict(attention=SlidingWindow(0)), "attention.window", ("=0", "at least 1", "write window=1")),
    (
        dict(embedding=Embedding(segments=-1), **ENCODER),
        "embedding.segments",
        ("=-1 must be at least 0", "write segments=0"),
    ),
    (dict(dropout=Dropout(attention=1.0)), "dropout.attention", ("=1.0 must lie in [0, 1)", "0.1")),
    (dict(stacks=EncoderDecoder(0)), "stacks.n_decoder_layers", ("=0", "at least 1", "write n_decoder_layers=1")),
    (dict(embedding=Embedding(segments=2)), "embedding.segments", ("=2 needs an encoder alone", "use 0")),
    (
        dict(placement=Parallel(), **ENCODER),
        "placement",
        ("=Parallel(separate=False) needs a decoder alone", "PreNorm()"),
    ),
    (dict(heads=(LanguageModelHead(), LanguageModelHead(tied=False))), "heads", ("must appear once", "leave out")),
    (dict(heads=(Pooler(),)), "heads", ("'Pooler' needs an encoder alone", "use LanguageModelHead()")),
    (
        ENCODER | dict(heads=(LanguageModelHead(),)),
        "heads",
        ("'LanguageModelHead' needs a decoder", "use MaskedLMHead()"),
    ),
    (ENCODER | dict(heads=(NextSentenceHead(),)), "heads", ("reads the pooled vector", "add Pooler()")),
    (dict(position=Rotary(fraction=1.5)), "position.fraction", ("=1.5 must lie in (0, 1]", "1.0")),
    (dict(position=Learned(3, 3)), "position.offset", ("=3 leaves none of max_positions=3", "more rows")),
    (ENCODER | dict(position=BlockPositions(4, 2)), "position", ("needs a decoder alone", "Decoder()")),
    (dict(stacks=Permutation()), "position", ("cannot serve two streams", "RelativeSinusoidal()")),
    (dict(position=RelativeSinusoidal(True)), "position.segments", ("=True needs stacks=Permutation()", "False")),
    (dict(attention=Alternating(())), "attention.patterns", ("=() must hold at least one", "Full()")),
    (dict(top_query=True, position=Rotary()), "top_query", ("=True needs a decoder alone", "False")),
    (dict(experts=Experts(2, 3)), "experts.n_active", ("=3 exceeds n_experts=2", "fewer")),
    (dict(experts=Experts(2, 1, every=3)), "experts.every", ("=3 leaves none of n_layers=2", "use 1")),
    (dict(shared_layers=True, top_query=True), "shared_layers", ("contradicts blocks that differ", "False")),
    (dict(embedding=Embedding(tasks=2)), "embedding.tasks", ("=2 needs an encoder alone", "use 0")),
    (dict(embedding=Embedding(languages=2)), "embedding.languages", ("=2 needs an encoder alone", "use 0")),
    (dict(embedding=Embedding(width=24)), "embedding.width", ("=24 is d_model", "use 0")),
    (dict(embedding=Embedding(early_width=24)), "embedding.early_width", ("=24 is d_model", "use 0")),
    (
        dict(embedding=Embedding(width=8, early_width=9)),
        "embedding.early_width",
        ("=9 cannot go with embedding.width=8", "one of the two"),
    ),
    (ENCODER | dict(embedding=Embedding(early_width=9)), "embedding.early_width", ("needs a decoder", "use width")),
    (ENCODER | dict(modules=MODULES), "modules", ("need a decoder alone", "Decoder()")),
    (dict(modules=TaskModules(1, 9, 2, 4)), "modules.n_heads", ("=2 must divide modules.d_model=9", "change")),
    (dict(modules=TaskModules(1, 6, 2, 4), position=Rotary()), "modules.d_model", ("=6 must give heads", "even")),
    (
        dict(modules=TaskModules(1, 9, 3, 4), position=RelativeSinusoidal()),
        "modules.d_model",
        ("=9 must be even for sinusoids", "even width"),
    ),
    (ENCODER | dict(vision=VISION), "vision", ("needs a decoder alone", "Decoder()")),
    (dict(vision=VISION, embedding=Embedding(width=8)), "vision", ("leads to d_model=24", "embed tokens")),
    (dict(vision=replace(VISION, patch_size=5)), "vision.patch_size", ("=5 must divide image_size=8", "change")),
    (dict(vision=replace(VISION, n_heads=4)), "vision.n_heads", ("=4 must divide vision.d_model=6", "change")),
    (dict(vision=replace(VISION, layer=-4)), "vision.layer", ("=-4 is no hidden state of 2 blocks", "-1")),
    (dict(vision=replace(VISION, token=11)), "vision.token", ("=11 lies outside the vocabulary of 11", "add")),
    (dict(vision=replace(VISION, eps=0.0)), "vision.eps", ("=0.0 must be positive", "1e-5")),
    (
        ENCODER | dict(heads=(MaskedLMHead(dense=False),), embedding=Embedding(width=8)),
        "heads.mlm.dense",
        ("=False leaves nothing that leads to the embedding's width of 8", "dense=True"),
    ),
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
    written, fired = set(), set()

    def record(*parts: Any) -> Fault:
        frame = sys._getframe(1)
        fired.add((frame.f_code.co_filename, frame.f_lineno))
        return Fault(*parts)

    for module in (check, rules):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        written |= {
            (module.__file__, node.lineno)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Fault"
        }
        monkeypatch.setattr(module, "Fault", record)
    faults = []
    for changes, _, _ in BROKEN:
        with pytest.raises(SpecError) as caught:
            Architecture(**SOUND | changes)
        faults += caught.value.faults
    assert fired == written
    told = {(fault.field, fault.remedy) for fault in faults}
    assert {(rule.field, rule.remedy) for rule in rules.RULES} <= told


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
    assert rules.divisors(1) == "1"
    assert rules.divisors(7) == "1 or 7"
