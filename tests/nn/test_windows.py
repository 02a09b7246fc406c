"""Windows: bands are as the dense mask, caches that roll are as those that do not, and both do less work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stemma.errors import InputError
from stemma.families import BERT, GPT3, LLAMA, T5
from stemma.nn import Model
from stemma.nn.attention import attend, attention_weights
from stemma.nn.bands import stretches
from stemma.nn.masks import Mask, Scores
from stemma.spec import (
    Alternating,
    BlockPositions,
    EncoderDecoder,
    Family,
    Full,
    Learned,
    SlidingWindow,
)
from stemma.spec.costs import cache_bytes, score_elements
from stemma.spec.parts import Alibi, Position, RelativeBuckets, RelativeSinusoidal, Rotary
from stemma.spec.windows import BLOCK, TRIM, blocks, n_kept, n_slots

from ..tiny import VOCAB, apart, each_decoder, random_model, random_tokens, run, tiny
from ..tolerances import FP64

LENGTHS = st.integers(1, 3 * BLOCK + 5)
CPU = torch.device("cpu")


def _drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _slopes(n_queries: int, n_keys: int) -> torch.Tensor:
    """A bias of each distance and head that no two distances share."""
    distance = torch.arange(n_keys) - torch.arange(n_keys - n_queries, n_keys)[:, None]
    return torch.stack([(distance * slope).double().sin() for slope in (0.3, 0.7)])[None]


@given(n_queries=LENGTHS, before=st.integers(0, 300), window=st.integers(1, 400), causal=st.booleans())
def test_blocks_hold_what_is_seen_once_and_little_more(n_queries: int, before: int, window: int, causal: bool) -> None:
    n_keys = before + n_queries
    computed = torch.zeros(n_queries, n_keys, dtype=torch.long)
    parts = blocks(n_queries, n_keys, window, causal)
    for queries, keys in parts:
        computed[queries, keys] += 1
    seen = Mask(causal=causal).dense(n_queries, n_keys, CPU, window)[0, 0]
    assert bool((computed[seen] == 1).all())
    assert int(computed.max()) == 1
    assert int(computed.sum()) == sum(part.n_scores for part in parts)
    sides = 1 if causal else 2
    widest = n_keys if n_keys <= window else min(n_queries, BLOCK) + sides * (window - 1 + min(n_queries, BLOCK))
    assert int(computed.sum(1).max()) <= min(n_keys, widest)


@given(
    n_queries=LENGTHS,
    before=st.integers(0, 150),
    window=st.none() | st.integers(1, 300),
    causal=st.booleans(),
    relative=st.booleans(),
    described=st.sets(st.sampled_from(["keys", "documents", "prefix"])),
    seed=st.integers(0, 99),
)
def test_bands_are_as_the_dense_mask(
    n_queries: int,
    before: int,
    window: int | None,
    causal: bool,
    relative: bool,
    described: set[str],
    seed: int,
) -> None:
    """Output, map and gradients, with everything that a mask may describe."""
    n_keys = before + n_queries
    parts: dict[str, Any] = {
        "keys": _drawn(2, n_keys, seed=seed) > -1,
        "documents": (_drawn(2, n_keys, seed=seed) > 2).long().cumsum(1),
        "prefix": torch.tensor([n_keys // 3, min(7, n_keys)]),
    }
    mask = Mask(causal=causal, **{name: parts[name] for name in described})
    inputs = [_drawn(2, heads, length, 4, seed=seed) for heads, length in ((2, n_queries), (1, n_keys), (1, n_keys))]
    scores = mask.scores(n_queries, n_keys, CPU, _slopes if relative else None, window)
    dense = mask.dense(n_queries, n_keys, CPU, window)
    whole = Scores(_slopes(n_queries, n_keys).masked_fill(~dense, -torch.inf) if relative else dense)
    results = []
    for added in (scores, whole):
        given = [part.clone().requires_grad_() for part in inputs]
        output = attend(given[0], given[1], given[2], added, 0.4)
        (output * output.detach().cos()).sum().backward()
        weights = attention_weights(inputs[0], inputs[1], added, 0.4)
        results.append([output.detach(), weights, *(part.grad for part in given)])
        assert apart(attend(inputs[0], inputs[1], inputs[2], added, 0.4), output.detach()) <= FP64
    for banded, expected in zip(*results, strict=True):
        assert apart(banded, expected) <= FP64


def test_dropout_drops_in_a_band_too() -> None:
    ones = torch.ones(1, 2, 300, 4)
    scores = Mask(causal=True).scores(300, 300, CPU, window=20)
    assert scores.bands
    dropped = attend(ones, ones, ones, scores, 0.5, dropout=0.5)
    assert 0.9 < float(dropped.mean()) < 1.1
    assert float(dropped.std()) > 0.05


def test_gradients_of_stretches_are_those_of_slices() -> None:
    x = _drawn(1, 1, 9, 2, seed=0).requires_grad_()
    spans = [slice(1, 4), slice(1, 7), slice(4, 9)]
    weights = [_drawn(1, 1, span.stop - span.start, 2, seed=span.stop) for span in spans]
    gradients = [
        torch.autograd.grad(sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True)), x)[0]  # type: ignore[arg-type]
        for parts in (stretches(x, spans), [x[:, :, span] for span in spans])
    ]
    assert apart(*gradients) <= FP64


# --- Counts ----------------------------------------------------------------------------------------------------------


def _flops(model: Model, *args: torch.Tensor, **options: torch.Tensor) -> int:
    """Of the products of a pass, seen through the plain kernel."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model(*args, **options)
    return counter.get_total_flops()


def _reaching(family: Family, length: int) -> dict[str, Position]:
    """Tables of positions for texts so long."""
    match family.traits["position"]:
        case Learned():
            return {"position": Learned(length)}
        case BlockPositions():
            return {"position": BlockPositions(length, 1)}
        case _:
            return {}


@pytest.mark.parametrize("length", [100, 300, 700])
@pytest.mark.parametrize(
    ("family", "pattern"),
    [
        (GPT3, Alternating((Full(), SlidingWindow(150)))),
        (GPT3, SlidingWindow(30)),
        (BERT, SlidingWindow(150)),
        (BERT, Full()),
        (T5, Alternating((SlidingWindow(30), Full(), SlidingWindow(150)))),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_as_many_scores_are_computed_as_are_counted(family: Family, pattern: Any, length: int) -> None:
    """Two widths of a head tell the products with keys and values from all others."""
    position = _reaching(family, length)
    pair = isinstance(family.traits["stacks"], EncoderDecoder)
    architecture = tiny(family, attention=pattern, **position)
    bare = architecture.change(attention=SlidingWindow(1), n_layers=architecture.n_layers)
    tokens = random_tokens(1, length)
    lengths = (length, length // 2) if pair else length
    options = {"decoder_tokens": tokens[:, : length // 2]} if pair else {}
    counted = [score_elements(one, lengths) for one in (architecture, bare)]
    computed = [_flops(Model(one).eval(), tokens, **options) for one in (architecture, bare)]
    for_a_score = 4 * architecture.n_heads * architecture.d_head
    assert computed[0] - computed[1] == for_a_score * (counted[0] - counted[1])


def test_the_alternating_pattern_computes_fewer_scores() -> None:
    architecture = GPT3.build("125M")
    dense, band = 2048 * 2048, 128 * (128 + 256 + 14 * 384)
    assert score_elements(architecture.change(attention=Full()), 2048) == 12 * dense
    assert score_elements(architecture, 2048) == 6 * dense + 6 * band
    assert band < 0.18 * dense


# --- The rolling cache -----------------------------------------------------------------------------------------------

POSITIONS = st.sampled_from([Rotary(), Alibi(), RelativeBuckets(8, 12), RelativeSinusoidal(), Learned(400)])
MIXED = Alternating((Full(), SlidingWindow(1), SlidingWindow(7)))
PATTERNS = st.sampled_from([SlidingWindow(3), SlidingWindow(20), MIXED])
PIECES = st.lists(st.integers(1, 9) | st.integers(60, 180), min_size=2, max_size=5).filter(lambda cuts: sum(cuts) < 400)


def _decoder(position: Position, pattern: Any, dtype: torch.dtype = torch.float64) -> Model:
    model: Model = random_model(tiny(LLAMA, position=position, attention=pattern), dtype=dtype)
    return model


@given(
    position=POSITIONS,
    pattern=PATTERNS,
    cuts=PIECES,
    pads=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    order=st.permutations([0, 1]),
    seed=st.integers(0, 9),
)
def test_a_cache_that_rolls_is_as_no_cache(
    position: Position, pattern: Any, cuts: list[int], pads: tuple[int, int], order: list[int], seed: int
) -> None:
    """Texts longer than any window's slots, in pieces shorter and longer than they are, padded and put in order."""
    model = _decoder(position, pattern)
    length = sum(cuts)
    tokens, starts = random_tokens(2, length, seed), torch.tensor(pads)
    real = torch.arange(length) >= starts[:, None]
    whole = run(model, tokens, mask=real, attentions=True)
    cache = model.new_cache(2, length, starts=starts)
    rows = torch.arange(2)
    for piece in tokens.split(cuts, 1):
        read = slice(cache.length, cache.length + piece.shape[1])
        with torch.inference_mode():
            output = model(piece[rows], cache=cache, attentions=True)
        kept = real[rows, read]
        assert apart(output.logits[kept], whole.logits[rows, read][kept]) <= FP64
        for got, expected in zip(output.attentions, whole.attentions, strict=True):
            seen = expected[rows][:, :, read, : read.stop].transpose(1, 2)
            assert apart(got.transpose(1, 2)[kept], seen[kept]) <= FP64
        cache.reorder(torch.tensor(order))
        rows = rows[order]


@each_decoder
def test_the_oldest_are_forgotten_and_the_rest_is_as_before(family: Family) -> None:
    """Pieces and single tokens, past the slots of a window of 3, against the text read at once."""
    cuts = (99, 32, 1, 1, 3, 28, 1)
    length = sum(cuts)
    position = _reaching(family, length)
    model = random_model(tiny(family, attention=SlidingWindow(3), n_layers=2, **position), dtype=torch.float64)
    pair = isinstance(model.architecture.stacks, EncoderDecoder)
    # The last id may stand for an image.
    tokens, source = random_tokens(1, length, seed=1, vocab=VOCAB - 1), random_tokens(1, 4)
    whole = run(model, source, decoder_tokens=tokens) if pair else run(model, tokens)
    with torch.inference_mode():
        cache = model.new_cache(1, length, memory=model.encode(source) if pair else None)
        steps = [model.decode(piece, cache=cache).hidden for piece in tokens.split(cuts, 1)]
    assert apart(torch.cat(steps, 1), whole.hidden) <= FP64
    assert [layer.first for layer in cache.layers] == [132 - n_kept(3)] * len(cache.layers)


def _held(model: Model, capacity: int, length: int) -> int:
    """Bytes of the tensors of a cache in which so much was read."""
    cache = model.new_cache(1, capacity)
    with torch.inference_mode():
        for piece in random_tokens(1, length).split(40, 1):
            model.decode(piece, cache=cache)
    return sum(part.numel() * part.element_size() for layer in cache.layers for part in (layer.keys, layer.values))


def test_memory_is_flat_in_the_length() -> None:
    window, full = (_decoder(Rotary(), pattern, torch.float32) for pattern in (SlidingWindow(50), Full()))
    sizes = {length: _held(window, length, length) for length in (100, 400, 800)}
    assert sizes == {length: cache_bytes(window.architecture, length, "float32") for length in sizes}
    assert sizes[400] == sizes[800] < 2 * sizes[100]
    assert _held(full, 800, 800) == 2 * _held(full, 400, 400)


def test_each_block_has_the_slots_that_its_window_needs() -> None:
    model = _decoder(Rotary(), Alternating((Full(), SlidingWindow(7))))
    cache = model.new_cache(2, 500)
    assert [layer.keys.shape[2] for layer in cache.layers] == [500, n_slots(500, 7), 500]
    assert cache.capacity == 500


def _filled(pattern: Any, length: int) -> tuple[Model, Any, torch.Tensor]:
    model, tokens = _decoder(Rotary(), pattern), random_tokens(1, length)
    cache = model.new_cache(1, 2 * length)
    with torch.inference_mode():
        for piece in tokens.split(TRIM, 1):
            model.decode(piece, cache=cache)
    return model, cache, tokens


@given(back=st.integers(0, TRIM), length=st.integers(300, 330))
def test_what_was_read_last_can_always_be_forgotten(back: int, length: int) -> None:
    model, cache, tokens = _filled(Alternating((SlidingWindow(7), Full())), length)
    cache.trim(length - back)
    again = random_tokens(1, back + 3, seed=1)
    with torch.inference_mode():
        output = model.decode(again, cache=cache)
    whole = run(model, torch.cat((tokens[:, : length - back], again), 1))
    assert apart(output.logits, whole.logits[:, -back - 3 :]) <= FP64


def test_what_a_window_has_forgotten_does_not_come_back() -> None:
    _, cache, _ = _filled(SlidingWindow(7), 300)
    first = cache.layers[0].first
    with pytest.raises(InputError) as caught:
        cache.trim(first + 5)
    words = (
        f"length={first + 5}",
        f"needs slots from {first - 1} on",
        "a window of 7",
        f"before {first}",
        "trim by at",
    )
    assert all(word in str(caught.value) for word in words), caught.value
    assert cache.length == 300
    cache.trim(first + 6)
    assert cache.length == first + 6


def test_a_cache_can_be_used_anew() -> None:
    model, cache, tokens = _filled(SlidingWindow(7), 300)
    cache.trim(0)
    with torch.inference_mode():
        output = model.decode(tokens[:, :9], cache=cache)
    assert apart(output.logits, run(model, tokens[:, :9]).logits) <= FP64


def test_a_prompt_longer_than_its_slots_is_read_at_once() -> None:
    model, tokens = _decoder(Rotary(), SlidingWindow(5)), random_tokens(1, 390)
    cache = model.new_cache(1, 400)
    with torch.inference_mode():
        read = model.decode(tokens[:, :380], cache=cache)
        after = model.decode(tokens[:, 380:], cache=cache)
    assert apart(torch.cat((read.logits, after.logits), 1), run(model, tokens).logits) <= FP64
    assert cache.layers[0].first == 380 - n_kept(5)
