"""What the native step does besides computing logits: rows, threads, sampling, and what it refuses."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from stemma.compiled import compiled
from stemma.engine import PackedMatrix, Program, faults_of, make_decoder, make_program, refusals
from stemma.errors import InputError
from stemma.families import family
from stemma.spec import (
    Alibi,
    Architecture,
    Bias,
    Embedding,
    Experts,
    LanguageModelHead,
    LayerNorm,
    Learned,
    Parallel,
    Plain,
    PostNorm,
    PreNorm,
    RelativeBuckets,
    Rotary,
    SlidingWindow,
)

from .. import tolerances
from ..tiny import VOCAB, apart, random_model, random_tokens, tiny

stemma_native = compiled() or pytest.skip("the compiled part is not installed", allow_module_level=True)

SIZES: dict[str, Any] = dict(n_layers=3, d_model=20, n_heads=4, n_kv_heads=2, d_head=6, d_ff=28, vocab_size=VOCAB)
# What no family of the tree says, or only at some sizes.
SHAPES: dict[str, Architecture] = {
    "shared": Architecture(**SIZES, shared_layers=True),
    "narrow": Architecture(**SIZES, position=Learned(19, 2), embedding=Embedding(width=14, norm=True)),
    "early": Architecture(**SIZES, position=Learned(19), embedding=Embedding(early_width=14), placement=PreNorm()),
    "scaled": Architecture(**SIZES, embedding=Embedding(scaled=True)),
    "bare norms": Architecture(
        **SIZES, norm=LayerNorm(gain=False, offset=False), embedding=Embedding(norm=True), position=Alibi(scaled=True)
    ),
    "separate": Architecture(**SIZES, placement=Parallel(separate=True), position=RelativeBuckets(12, 30)),
    "experts": Architecture(**SIZES, experts=Experts(5, 3, every=2, normalised=False), placement=PostNorm()),
    "head": Architecture(**SIZES, heads=(LanguageModelHead(tied=False, bias=True, scaled=True),)),
    "sigmoid": Architecture(
        **SIZES, feedforward=Plain("gelu_sigmoid"), attention_scale=0.3, bias=Bias(False, True, False)
    ),
    "turned": Architecture(**{**SIZES, "d_head": 36}, position=Rotary(500.0, 0.5, "interleaved"), placement=PreNorm()),
    "windows": Architecture(**SIZES, attention=SlidingWindow(3), position=Alibi()),
}


@pytest.fixture(autouse=True)
def _usual_threads() -> Iterator[None]:
    yield
    stemma_native.threads(2)


def llama(**options: Any) -> tuple[Any, Any]:
    """A small model and its native decoder, in full precision where not said otherwise."""
    model = random_model(tiny(family("llama")))
    return model, make_decoder(
        make_program(model.architecture, model.state_dict(), **{"bits": 32, "head_bits": 32} | options)
    )


def greedy(decoder: Any, cache: Any, tokens: list[int], count: int) -> list[list[int]]:
    """What the likeliest tokens are, step by step."""
    rows: list[list[int]] = [[] for _ in tokens]
    for _ in range(count):
        tokens = decoder.step(cache, np.array(tokens)).argmax(-1).tolist()
        for row, token in zip(rows, tokens, strict=True):
            row.append(token)
    return rows


@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_shapes_that_no_family_has(name: str) -> None:
    """Logits of a whole text, in full precision."""
    model, tokens = random_model(SHAPES[name]), random_tokens(1, 17)
    decoder = make_decoder(make_program(SHAPES[name], model.state_dict(), bits=32, head_bits=32))
    ours = decoder.extend(decoder.cache(1, 17, precise=True), 0, tokens[0].numpy())
    assert apart(torch.from_numpy(ours), model(tokens).logits[0]) < tolerances.NATIVE_EXACT


@pytest.mark.parametrize("isa", stemma_native.isas())
@pytest.mark.parametrize("name", ["t5-v1.1", "bloom", "gpt2", "palm", "mixtral", "opt"])
def test_instruction_sets_agree(isa: str, name: str) -> None:
    """Each gives the portable one's logits, with packed weights and all."""
    usual, architecture = stemma_native.isa(), tiny(family(name))
    decoder = make_decoder(make_program(architecture, random_model(architecture).state_dict()))
    logits = {}
    for chosen in ("portable", isa):
        stemma_native.use_isa(chosen)
        cache = decoder.cache(1, 16, precise=True)
        for layer in range(architecture.n_decoder_layers if name.startswith("t5") else 0):
            memory = np.random.default_rng(layer).standard_normal((2, 2, 9, 6)).astype(np.float32)
            cache.memory(layer, 0, *memory)
        logits[chosen] = decoder.extend(cache, 0, random_tokens(1, 11)[0].numpy())
    stemma_native.use_isa(usual)
    assert abs(logits[isa] - logits["portable"]).max() < 5e-3


@torch.no_grad()
def test_reordered_rows_go_on_as_the_texts_that_they_are() -> None:
    """Rows that are repeated, left out and exchanged, as in beams, beside torch's."""
    model, decoder = llama()
    tokens, own, cache = random_tokens(3, 5), decoder.cache(3, 9, precise=True), model.new_cache(3, 9)
    model.decode(tokens, cache=cache)
    for row in range(3):
        decoder.extend(own, row, tokens[row].numpy())
    for rows in ([2, 0, 2, 1], [3, 3], [1, 0, 1]):
        own.reorder(np.array(rows))
        cache.reorder(torch.tensor(rows))
        following = random_tokens(len(rows), 1, seed=len(rows))
        ours = decoder.step(own, following[:, 0].numpy())
        assert (
            apart(torch.from_numpy(ours), model.decode(following, cache=cache).logits[:, -1]) < tolerances.NATIVE_EXACT
        )
    assert list(own.lengths) == [8, 8, 8]


def test_logits_are_the_same_with_any_number_of_threads() -> None:
    """Bit for bit: threads share rows, never sums."""
    _, decoder = llama(bits=4, head_bits=8)
    results = []
    for threads in (1, 2, 3, 5):
        stemma_native.threads(threads)
        results.append(decoder.extend(decoder.cache(1, 40), 0, random_tokens(1, 33)[0].numpy()))
    assert all(np.array_equal(results[0], other) for other in results)


def test_several_callers_at_once() -> None:
    """Passes wait for each other, and none disturbs another."""
    _, decoder = llama(bits=4)
    alone = [greedy(decoder, decoder.cache(1, 30), [token], 29) for token in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda token: greedy(decoder, decoder.cache(1, 30), [token], 29), range(4)))
    assert together == alone


@pytest.mark.parametrize("isa", stemma_native.isas())
def test_choosing_is_stepping_to_the_likeliest(isa: str) -> None:
    """The last vector of logits is not full."""
    model = random_model(replace(tiny(family("llama")), vocab_size=2 * VOCAB - 1))
    decoder = make_decoder(make_program(model.architecture, model.state_dict(), bits=32, head_bits=32))
    usual = stemma_native.isa()
    stemma_native.use_isa(isa)
    ours, theirs = decoder.cache(3, 10), decoder.cache(3, 10)
    tokens = [1, 2, 3]
    for _ in range(6):
        logits = torch.from_numpy(decoder.step(theirs, np.array(tokens)))
        tokens, logprobs = decoder.choose(ours, tokens)
        assert tokens == logits.argmax(-1).tolist()
        assert logprobs == pytest.approx(logits.log_softmax(-1).amax(-1).tolist(), abs=tolerances.FP32)
    stemma_native.use_isa(usual)


def test_logits_that_are_no_numbers_choose_nothing() -> None:
    model = random_model(tiny(family("llama")))
    with torch.no_grad():
        model.get_parameter("decoder.norm.weight")[3] = torch.nan
    decoder = make_decoder(make_program(model.architecture, model.state_dict()))
    _, logprobs = decoder.choose(decoder.cache(2, 4), [1, 2])
    assert np.isnan(logprobs).all()


def test_writing_is_stepping() -> None:
    """Greedy ids, up to the first stop of each row."""
    _, decoder = llama(bits=4)
    expected = greedy(decoder, decoder.cache(3, 30), [1, 2, 3], 20)
    nothing = np.array([], np.int64)
    assert decoder.write(decoder.cache(3, 30), np.array([1, 2, 3]), 20, nothing, {}) == expected
    stop = expected[1][4]
    cut = [row[: row.index(stop) + 1] if stop in row else row for row in expected]
    assert decoder.write(decoder.cache(3, 30), np.array([1, 2, 3]), 20, np.array([stop]), {}) == cut


def test_drawn_tokens_follow_their_distribution() -> None:
    """Of many seeds' first tokens; and one seed always draws the same."""
    model, decoder = llama()
    none = np.array([], np.int64)

    def draw(seed: int, **options: Any) -> list[int]:
        cache = decoder.cache(1, 8)
        return decoder.write(cache, np.array([7]), 1, none, {"seed": seed, "temperature": 0.8, **options})[0]

    with torch.no_grad():
        logits = model(torch.tensor([[7]])).logits[0, 0].double() / 0.8
    order = logits.argsort(descending=True).tolist()
    for options in ({}, {"top_k": 4}, {"top_p": 0.7}):
        probabilities = logits.softmax(-1)
        kept = order[:4] if "top_k" in options else order
        if "top_p" in options:
            kept = order[: int((probabilities[order].cumsum(0) < 0.7).sum()) + 1]
        expected = {token: float(probabilities[token] / probabilities[kept].sum()) for token in kept}
        found = Counter(draw(seed, **options)[0] for seed in range(2000))
        assert set(found) <= set(kept)
        assert max(abs(found[token] / 2000 - share) for token, share in expected.items()) < 0.04
    assert draw(5) == draw(5)
    assert draw(9, top_k=1) == [order[0]]


def test_faults_are_named() -> None:
    """Every misuse is one error that says what to do; nothing is read or written elsewhere."""
    _, decoder = llama()
    _, other = llama()
    cache, tokens = decoder.cache(2, 4), np.array([1, 2])
    wrong: dict[str, Any] = {
        "lies outside the vocabulary": lambda: decoder.step(cache, np.array([1, VOCAB])),
        "must be one for each row": lambda: decoder.step(cache, np.array([1])),
        "must be of int64": lambda: decoder.step(cache, tokens.astype(np.int32)),
        "another number of axes": lambda: decoder.step(cache, tokens[None]),
        "another decoder's": lambda: other.step(cache, tokens),
        "exceeds the cache's capacity": lambda: decoder.extend(cache, 0, np.arange(5)),
        "row=2 lies outside": lambda: decoder.extend(cache, 2, tokens),
        "must be at least one": lambda: decoder.extend(cache, 0, tokens[:0]),
        "rows=2 lies outside": lambda: cache.reorder(np.array([0, 2])),
        "keep at least one row": lambda: cache.reorder(tokens[:0]),
        "is not among the filled slots": lambda: cache.trim(0, 1),
        "is not read by this decoder": lambda: cache.memory(0, 0, *np.zeros((2, 2, 3, 6), np.float32)),
        "n_kv_heads x slots x d_head": lambda: cache.fill(0, 0, *np.zeros((2, 3, 3, 6), np.float32)),
        "leaves no room": lambda: cache.fill(0, 0, *np.zeros((2, 2, 3, 6), np.float32), start=2),
        "layer=3 lies outside": lambda: cache.fill(3, 0, *np.zeros((2, 2, 3, 6), np.float32)),
        "top_p=0.0 must be above 0": lambda: decoder.write(
            cache, tokens, 1, tokens, {"top_p": 0.0, "temperature": 1.0}
        ),
        "is no option": lambda: decoder.write(cache, tokens, 1, tokens, {"beams": 1}),
        "count=0": lambda: decoder.write(cache, tokens, 0, tokens, {}),
        "capacity=0": lambda: decoder.cache(1, 0),
        "isa='quantum'": lambda: stemma_native.use_isa("quantum"),
        "threads=0": lambda: stemma_native.threads(0),
    }
    for rule, misuse in wrong.items():
        with pytest.raises(InputError, match=rule), refusals("native step"):
            misuse()
    assert list(cache.lengths) == [0, 0]


def test_spec_and_tensors_must_agree() -> None:
    """A tensor too many, too few or too small, and a field that is unknown, missing or out of range."""
    model = random_model(tiny(family("llama")))
    program = make_program(model.architecture, model.state_dict(), bits=4)
    name = "decoder.blocks.1.attention.key.weight"
    key = program.tensors[name]
    assert isinstance(key, PackedMatrix)
    small = PackedMatrix(key.codes[:-1], key.scales[:-1], key.minimums[:-1])  # type: ignore[index]
    without = {other: tensor for other, tensor in program.tensors.items() if other != name}
    changed: dict[str, dict[str, Any]] = {
        "is missing": dict(tensors=without),
        "must be a matrix of 12 x 24": dict(tensors={**program.tensors, name: small}),
        "is read by no part": dict(tensors={**program.tensors, "more": np.zeros(3, np.float32)}),
        "is no field": dict(spec={**program.spec, "n_ears": 2}),
        "must divide n_heads": dict(spec={**program.spec, "n_kv_heads": 3}),
        "is out of range": dict(spec={**program.spec, "d_ff": -1}),
        "use one of": dict(spec={**program.spec, "norm": "batch"}),
        "must be an integer": dict(spec={**program.spec, "d_ff": "many"}),
    }
    for rule, parts in changed.items():
        with pytest.raises(InputError, match=rule):
            make_decoder(replace(program, **parts))


@pytest.mark.parametrize(("name", "field"), [("bert", "stacks"), ("gopher", "position"), ("glm", "position")])
def test_what_it_cannot_say_is_refused_with_the_reason(name: str, field: str) -> None:
    """The torch path serves those."""
    architecture = tiny(family(name))
    assert field in {fault.field for fault in faults_of(architecture)}
    with pytest.raises(InputError, match=field):
        make_program(architecture, {})


def test_an_adapted_model_is_refused() -> None:
    """Tensors that the architecture does not have, and those that are missing, are named."""
    model = random_model(tiny(family("llama")))
    state = {**model.state_dict(), "decoder.blocks.0.changes.lora": torch.zeros(2)}
    del state["decoder.norm.weight"]
    with pytest.raises(InputError, match="2 faults"):
        make_program(model.architecture, state)


def test_a_program_without_the_compiled_part(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It says once that torch serves, and what to do."""
    monkeypatch.setitem(sys.modules, "stemma_native", None)
    compiled.cache_clear()
    assert compiled() is None
    assert compiled() is None
    assert len(caplog.records) == 1
    assert "torch serves instead" in caplog.text
    with pytest.raises(InputError, match="install a C"):
        make_decoder(Program({}, {}))
    compiled.cache_clear()
