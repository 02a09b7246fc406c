"""What must not change the results of any family: padding, the order of a batch, packing, and a cache."""

from __future__ import annotations

from functools import cache

import torch
from hypothesis import given
from hypothesis import strategies as st

from stemma.families import family as family_named
from stemma.nn import Memory, Model
from stemma.spec import Decoder, Encoder, EncoderDecoder, Family, Full, SlidingWindow

from ..tiny import LONGEST, PER_TOKEN, VOCAB, apart, each, each_decoder, each_family, random_model, results, run, tiny
from ..tolerances import FP64

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=4)
PIECES = st.lists(st.integers(1, 5), min_size=1, max_size=9).filter(lambda cuts: sum(cuts) <= LONGEST)
SEEDS = st.integers(0, 99)
PATTERNS = st.sampled_from([Full(), SlidingWindow(3)])
GROUPS = st.sampled_from([1, 2, 4])


@cache
def _model(name: str, n_kv_heads: int, pattern: Full | SlidingWindow) -> Model:
    architecture = tiny(family_named(name), n_kv_heads=n_kv_heads, attention=pattern)
    return random_model(architecture, dtype=torch.float64)


def _texts(lengths: list[int], seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(VOCAB, (length,), generator=generator) for length in lengths]


def _padded(texts: list[torch.Tensor], left: bool, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The texts in one batch, filled up with arbitrary ids, and where they stand."""
    width = max(map(len, texts))
    tokens = _texts([width * len(texts)], seed)[0].view(len(texts), width)
    mask = torch.zeros(len(texts), width, dtype=torch.bool)
    for row, text in enumerate(texts):
        place = slice(width - len(text), width) if left else slice(0, len(text))
        tokens[row, place] = text
        mask[row, place] = True
    return tokens, mask


@each_family
@given(lengths=LENGTHS, seed=SEEDS, left=st.booleans(), pattern=PATTERNS, n_kv_heads=GROUPS)
def test_padding_changes_nothing(
    family: Family, lengths: list[int], seed: int, left: bool, pattern: Full | SlidingWindow, n_kv_heads: int
) -> None:
    model = _model(family.name, n_kv_heads, pattern)
    texts, targets = _texts(lengths, seed), _texts(lengths[::-1], seed + 1)
    tokens, mask = _padded(texts, left, seed + 2)
    options, read = {"mask": mask}, mask
    if isinstance(model.architecture.stacks, EncoderDecoder):
        options["decoder_tokens"], read = _padded(targets, not left, seed + 3)
        options["decoder_mask"] = read
    batch = results(run(model, tokens, **options))
    for row, (text, target) in enumerate(zip(texts, targets, strict=True)):
        alone = {"decoder_tokens": target[None]} if "decoder_tokens" in options else {}
        for name, expected in results(run(model, text[None], **alone)).items():
            got = batch[name][row]
            assert apart(got[read[row]] if name in PER_TOKEN else got, expected[0]) <= FP64, name


@each_family
@given(order=st.permutations(range(4)), seed=SEEDS)
def test_the_order_of_a_batch_changes_nothing(family: Family, order: list[int], seed: int) -> None:
    model = _model(family.name, 2, Full())
    tokens, mask = _padded(_texts([3, 8, 1, 5], seed), True, seed)
    before, after = (results(run(model, tokens[rows], mask=mask[rows])) for rows in (list(range(4)), order))
    for name, expected in before.items():
        assert apart(after[name], expected[order]) <= FP64, name


@each(Encoder, Decoder)
@given(lengths=LENGTHS, seed=SEEDS, filling=st.integers(0, 3), pattern=PATTERNS)
def test_packed_documents_are_as_separate_texts(
    family: Family, lengths: list[int], seed: int, filling: int, pattern: Full | SlidingWindow
) -> None:
    model = _model(family.name, 2, pattern)
    texts = _texts(lengths, seed)
    tokens = torch.cat([*texts, torch.zeros(filling, dtype=torch.long)])[None]
    documents = torch.cat([torch.full((n,), place) for place, n in enumerate([*lengths, filling])])[None]
    packed = results(run(model, tokens, documents=documents))
    for place, text in enumerate(texts):
        for name, expected in results(run(model, text[None])).items():
            if name in PER_TOKEN:
                assert apart(packed[name][documents == place], expected[0]) <= FP64, name


@each_decoder
@given(cuts=PIECES, seed=SEEDS, pattern=PATTERNS, n_kv_heads=GROUPS)
def test_reading_in_pieces_is_as_reading_at_once(
    family: Family, cuts: list[int], seed: int, pattern: Full | SlidingWindow, n_kv_heads: int
) -> None:
    model = _model(family.name, n_kv_heads, pattern)
    length = sum(cuts)
    tokens, sources = (torch.stack(_texts([length] * 2, seed + part)) for part in (0, 1))
    memory = model.encode(sources) if isinstance(model.architecture.stacks, EncoderDecoder) else None
    held = model.new_cache(2, length, memory=memory)
    whole = run(model, sources, decoder_tokens=tokens) if memory else run(model, tokens)
    with torch.no_grad():
        for piece in tokens.split(cuts, 1):
            before = held.length
            output = model.decode(piece, cache=held)
            for name, expected in results(whole).items():
                assert apart(results(output)[name], expected[:, before : held.length]) <= FP64, name
            held.trim(before)
            again = model.decode(piece, cache=held, last_only=True)
            assert apart(again.logits, output.logits[:, -1:]) <= FP64
    assert held.length == length


@each_decoder
@given(data=st.data(), pattern=PATTERNS, n_kv_heads=GROUPS)
def test_any_history_of_a_cache(
    family: Family, data: st.DataObject, pattern: Full | SlidingWindow, n_kv_heads: int
) -> None:
    """Rows padded on the left, read in pieces, forgotten, repeated, dropped and put in another order."""
    model = _model(family.name, n_kv_heads, pattern)
    seed = data.draw(SEEDS)
    starts = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3), label="starts"))
    capacity = LONGEST + int(starts.min())
    sources = _texts(data.draw(st.lists(st.integers(1, 6), min_size=len(starts), max_size=len(starts))), seed)
    pair = isinstance(model.architecture.stacks, EncoderDecoder)
    memory = model.encode(*_padded(sources, True, seed)) if pair else None
    held = model.new_cache(len(starts), capacity, starts=starts, memory=memory)
    rows = torch.empty(len(starts), 0, dtype=torch.long)
    first = int(starts.max()) + 1  # so that every row holds a token
    for step in range(data.draw(st.integers(1, 5), label="steps")):
        size = first if step == 0 else data.draw(st.integers(1, 3), label="piece")
        if held.length + size > capacity:
            break
        piece = torch.stack(_texts([size] * len(rows), seed + step))
        with torch.no_grad():
            output = model.decode(piece, cache=held)
        rows = torch.cat([rows, piece], 1)
        for row, begin in enumerate(starts.tolist()):
            text = rows[row, begin:][None]
            whole = run(model, sources[row][None], decoder_tokens=text) if pair else run(model, text)
            fresh = min(size, text.shape[1])
            for name, expected in results(whole).items():
                got = results(output)[name]
                assert apart(got[row, size - fresh :], expected[0, -fresh:]) <= FP64, (name, step)
        order = torch.tensor(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=4), label="rows"))
        kept = data.draw(st.integers(first, held.length), label="kept")
        held.reorder(order)
        held.trim(kept)
        rows, starts, sources = rows[order, :kept], starts[order], [sources[row] for row in order]
        assert (held.batch, held.length) == rows.shape


@each(EncoderDecoder)
@given(lengths=LENGTHS, seed=SEEDS)
def test_a_memory_with_padding_is_as_one_without(family: Family, lengths: list[int], seed: int) -> None:
    model = _model(family.name, 2, Full())
    texts = _texts(lengths, seed)
    with torch.no_grad():
        memory = model.encode(*_padded(texts, False, seed))
        first = model.decode(
            torch.ones(len(texts), 2, dtype=torch.long), cache=model.new_cache(len(texts), 2, memory=memory)
        )
        for row, text in enumerate(texts):
            hidden = Memory(model.encode(text[None]).hidden)
            alone = model.decode(torch.ones(1, 2, dtype=torch.long), cache=model.new_cache(1, 2, memory=hidden))
            assert apart(first.hidden[row], alone.hidden[0]) <= FP64
