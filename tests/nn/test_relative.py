"""Distances in attention: the formula written out, and what must not depend on how a text is read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stemma.nn.masks import Scores
from stemma.nn.positions import sinusoids
from stemma.nn.relative import Relative, distances, shifted
from stemma.spec import Architecture, Decoder, Encoder, EncoderDecoder, costs
from stemma.spec.parts import Permutation, PreNorm, RelativeSinusoidal, Sinusoidal, SlidingWindow

from ..tiny import apart, random_model, random_tokens, run, scramble
from ..tolerances import FP64

SPEC = Architecture(
    n_layers=2,
    d_model=10,
    n_heads=4,
    n_kv_heads=2,
    d_head=6,
    d_ff=14,
    vocab_size=37,
    stacks=Permutation(),
    position=RelativeSinusoidal(segments=True),
)
DECODER = replace(SPEC, stacks=Decoder(), position=RelativeSinusoidal(), placement=PreNorm())


@pytest.mark.parametrize(("runs", "n_keys"), [((5,), 5), ((1,), 1), ((3,), 8), ((1,), 8), ((5, 5), 5), ((5, 1), 7)])
@pytest.mark.parametrize("segmented", [False, True])
@torch.no_grad()
def test_scores_are_those_of_the_formula(runs: tuple[int, ...], n_keys: int, segmented: bool) -> None:
    """One query and key at a time, from the paper's four terms, in the order of many queries and in that of few."""
    relative = Relative(SPEC).double()
    scramble(relative)
    generator = torch.Generator().manual_seed(1)
    query, key = (torch.randn(2, 4, n, 6, generator=generator).double() for n in (sum(runs), n_keys))
    segments = random_tokens(2, n_keys, vocab=2) if segmented else None
    around = distances(SPEC, runs, n_keys, ahead=True, like=query, segments=segments)
    slots = [n_keys - run + place for run in runs for place in range(run)]
    seen = torch.ones(1, 1, sum(runs), n_keys, dtype=torch.bool)
    meeting, scores = relative(query, n_keys, around, Scores(seen))
    got = meeting @ key.mT * SPEC.score_scale + scores.bias
    matrix = relative.position_key.weight
    for row, head, place, column in torch.cartesian_prod(
        torch.arange(2), torch.arange(4), torch.arange(sum(runs)), torch.arange(n_keys)
    ).tolist():
        wave = sinusoids(Sinusoidal("halves"), torch.tensor([[slots[place] - column]]), 10, torch.float64)[0, 0]
        q, k = query[row, head, place], key[row, head, column]
        wanted = (q + relative.content_bias[head]) @ k
        wanted = wanted + (q + relative.position_bias[head]) @ (matrix @ wave).view(4, 6)[head]
        if segments is not None:
            other = int(segments[row, slots[place]] != segments[row, column])
            wanted = wanted + (q + relative.segment_bias[head]) @ relative.segment[other, head]
        assert abs(float(wanted * SPEC.score_scale) - float(got[row, head, place, column])) <= FP64


def test_a_shift_is_a_view() -> None:
    scores = torch.randn(2, 3, 4, 9)
    assert shifted(scores, 5).untyped_storage().data_ptr() == scores.untyped_storage().data_ptr()


def test_scores_know_the_distance_alone() -> None:
    """The same words further on in a text, between the same neighbours within the window, have the same vectors."""
    model = random_model(replace(DECODER, attention=SlidingWindow(2)), dtype=torch.float64)
    text = random_tokens(1, 6)
    repeated = run(model, torch.cat([text, text], 1)).hidden
    assert apart(repeated[:, 8:], repeated[:, 2:6]) <= FP64


def test_few_queries_are_as_many() -> None:
    """Both orders of multiplication are met: the second where rows times queries are fewer than a head's channels."""
    model = random_model(DECODER, dtype=torch.float64)
    tokens = random_tokens(7, 5)
    whole = run(model, tokens).hidden
    for row in range(7):
        assert apart(run(model, tokens[row : row + 1]).hidden, whole[row : row + 1]) <= FP64


@pytest.mark.parametrize("stacks", [Encoder(), Decoder(), EncoderDecoder(2)], ids=lambda stacks: stacks.label)
def test_order_matters_and_direction_too(stacks: Encoder | Decoder | EncoderDecoder) -> None:
    heads = () if isinstance(stacks, Encoder) else DECODER.heads
    model = random_model(replace(DECODER, stacks=stacks, heads=heads), dtype=torch.float64)
    tokens = torch.tensor([[1, 2, 3, 2, 1]])
    hidden = run(model, tokens, **({"decoder_tokens": tokens} if stacks == EncoderDecoder(2) else {})).hidden
    assert apart(hidden[0, 0], hidden[0, 4]) > 0.01
    assert apart(hidden[0, 1], hidden[0, 3]) > 0.01


def test_cross_attention_knows_no_distance() -> None:
    model = random_model(replace(DECODER, stacks=EncoderDecoder(2)))
    assert {block.cross_attention.relative for block in model.decoder.blocks} == {None}
    assert all(isinstance(block.attention.relative, Relative) for block in model.encoder.blocks)


def test_a_prefix_is_seen_ahead() -> None:
    """A prefix that is the whole text makes a decoder an encoder."""
    decoder = random_model(DECODER, dtype=torch.float64)
    encoder = random_model(replace(DECODER, stacks=Encoder(), heads=()), dtype=torch.float64)
    encoder.load_state_dict(
        {name.replace("decoder.", "encoder."): value for name, value in decoder.state_dict().items()}
    )
    tokens = random_tokens(2, 6)
    both_ways = run(decoder, tokens, prefix=torch.tensor([6, 6])).hidden
    assert apart(both_ways, run(encoder, tokens).hidden) <= FP64


def test_gradients_reach_every_parameter() -> None:
    model = random_model(SPEC)
    tokens = random_tokens(2, 6)
    model(tokens, segments=random_tokens(2, 6, vocab=2), ranks=torch.arange(6).expand(2, -1)).logits.sum().backward()
    silent = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert silent == []


@pytest.mark.parametrize("length", [3, 9])
@pytest.mark.parametrize("stacks", [Encoder(), Decoder(), Permutation()], ids=lambda stacks: stacks.label)
def test_both_orders_cost_what_is_counted(stacks: Encoder | Decoder | Permutation, length: int) -> None:
    """Fewer tokens than a head has channels, and more; and one token on a cache."""
    spec = replace(DECODER, stacks=stacks, heads=())
    model, tokens = random_model(spec), random_tokens(1, length)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(tokens)
    assert counter.get_total_flops() == costs.forward_flops(spec, length)
    if isinstance(stacks, Decoder):
        cache = model.new_cache(1, length)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model.decode(tokens[:, 1:], cache=cache)
            before = counter.get_total_flops()
            model.decode(tokens[:, :1], cache=cache)
        assert counter.get_total_flops() - before == costs.forward_flops(spec, 1, context=length)
