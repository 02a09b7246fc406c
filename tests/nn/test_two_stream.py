"""What makes a permutation's two streams different: who knows what, and what a history adds."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stemma.errors import InputError
from stemma.nn import Model
from stemma.nn.history import History
from stemma.spec import Family
from stemma.spec.parts import Decoder, Permutation, PreNorm, RelativeSinusoidal, SlidingWindow

from ..tiny import VOCAB, apart, each, random_model, random_tokens, run, tiny
from ..tolerances import FP64

each_permutation = each(Permutation)
LENGTH = 6
RANKS = st.permutations(range(LENGTH)).map(lambda order: torch.tensor([order]))


def _model(family: Family, **changes: Any) -> Model:
    return random_model(tiny(family, **changes), dtype=torch.float64)


def _change(tokens: torch.Tensor, place: int) -> torch.Tensor:
    changed = tokens.clone()
    changed[:, place] = (changed[:, place] + 1) % VOCAB
    return changed


@each_permutation
@given(ranks=RANKS, place=st.integers(0, LENGTH - 1), n_context=st.integers(0, 3))
def test_a_token_is_known_to_those_that_are_predicted_after_it(
    family: Family, ranks: torch.Tensor, place: int, n_context: int
) -> None:
    """The content stream knows its own token, the second stream does not; both know those of lower rank alone."""
    model, tokens = _model(family), random_tokens(1, LENGTH)
    ranks = torch.where(ranks < n_context, -1, ranks)
    before, after = (run(model, text, ranks=ranks) for text in (tokens, _change(tokens, place)))
    rank = int(ranks[0, place])
    for other in range(LENGTH):
        later = rank < 0 or int(ranks[0, other]) > rank
        assert (apart(before.logits[0, other], after.logits[0, other]) > 1e-9) == later, other
        itself = other == place
        assert (apart(before.hidden[0, other], after.hidden[0, other]) > 1e-9) == (later or itself), other


@each_permutation
def test_an_order_that_is_the_text_s_makes_a_causal_network(family: Family) -> None:
    """The content stream is then the decoder with the same parameters, and predicts from what precedes."""
    model = _model(family, position=RelativeSinusoidal())
    decoder = random_model(replace(model.architecture, stacks=Decoder()), dtype=torch.float64)
    weights = {name.replace("encoder.", "decoder."): value for name, value in model.state_dict().items()}
    decoder.load_state_dict({name: value for name, value in weights.items() if not name.startswith("two_streams.")})
    tokens = random_tokens(2, LENGTH)
    permuted = run(model, tokens, ranks=torch.arange(LENGTH).expand(2, -1))
    assert apart(permuted.hidden, run(decoder, tokens).hidden) <= FP64


@each_permutation
def test_the_likelihood_of_every_text_adds_up_to_one_in_every_order(family: Family) -> None:
    """p(x) = prod over t of p(x_z(t) | x_z(<t)), for a vocabulary of three and every text of three tokens."""
    model = _model(family, vocab_size=3)
    texts = torch.cartesian_prod(*[torch.arange(3)] * 3)
    for order in permutations(range(3)):
        logits = run(model, texts, ranks=torch.tensor([order]).expand(27, -1)).logits
        scores = logits.log_softmax(-1).gather(-1, texts[..., None]).sum((1, 2))
        assert abs(float(scores.exp().sum()) - 1) <= FP64


@each_permutation
def test_without_ranks_there_is_one_stream(family: Family) -> None:
    model, tokens = _model(family), random_tokens(2, LENGTH)
    seen: list[int] = []
    hook = model.encoder.blocks[0].register_forward_hook(lambda _, inputs, output: seen.append(output.shape[1]))
    alone = run(model, tokens)
    asked = run(model, tokens, ranks=torch.full_like(tokens, -1))
    last = run(model, tokens, ranks=torch.full_like(tokens, -1), last_only=True)
    hook.remove()
    assert seen == [LENGTH, 2 * LENGTH, LENGTH + 1]
    assert apart(asked.hidden, alone.hidden) <= FP64
    assert apart(last.logits, asked.logits[:, -1:]) <= FP64
    assert apart(asked.logits, alone.logits) > 0.01


@each_permutation
@pytest.mark.parametrize("placement", [None, PreNorm()])
def test_who_sees_nothing_is_given_nothing(family: Family, placement: PreNorm | None) -> None:
    """No token, padding neither, may leak into what is predicted first."""
    model = _model(family, **({} if placement is None else {"placement": placement}))
    tokens, ranks = random_tokens(1, LENGTH), torch.tensor([[3, 0, 5, 1, 2, 4]])
    mask = torch.tensor([[True] * (LENGTH - 1) + [False]])
    output = run(model, tokens, ranks=ranks, mask=mask, attentions=True)
    others = run(model, random_tokens(1, LENGTH, seed=9), ranks=ranks, mask=mask)
    assert apart(output.logits[:, 1], others.logits[:, 1]) == 0
    layers = model.architecture.n_layers
    assert len(output.attentions) == 2 * layers
    for content, asking in zip(output.attentions[:layers], output.attentions[layers:], strict=True):
        assert float(asking[:, :, 1].abs().max()) == 0
        assert apart(asking[:, :, 3].sum(-1), torch.ones(1, 4)) <= FP64
        assert apart(content.sum(-1), torch.ones(1, 4, LENGTH)) <= FP64


@each_permutation
def test_equal_ranks_do_not_see_each_other(family: Family) -> None:
    model, tokens = _model(family), random_tokens(1, LENGTH)
    ranks = torch.tensor([[-1, 0, 0, -1, -1, -1]])
    before, after = (run(model, text, ranks=ranks).logits[0, 1] for text in (tokens, _change(tokens, 2)))
    assert apart(before, after) == 0


@each_permutation
@given(left=st.booleans(), ranks=RANKS, window=st.sampled_from([None, 3]))
def test_padding_changes_nothing_in_either_stream(
    family: Family, left: bool, ranks: torch.Tensor, window: int | None
) -> None:
    model = _model(family, **({} if window is None else {"attention": SlidingWindow(window)}))
    tokens = random_tokens(1, LENGTH + 3)
    real = slice(3, None) if left else slice(0, LENGTH)
    mask, padded = torch.zeros_like(tokens, dtype=torch.bool), torch.full_like(tokens, 2)
    mask[:, real], padded[:, real] = True, ranks
    alone = run(model, tokens[:, real], ranks=ranks)
    batch = run(model, tokens, ranks=padded, mask=mask)
    assert apart(batch.logits[:, real], alone.logits) <= FP64
    assert apart(batch.hidden[:, real], alone.hidden) <= FP64


@each_permutation
def test_segments_are_told_apart_but_have_no_names(family: Family) -> None:
    model, tokens = _model(family), random_tokens(1, LENGTH)
    one, two, swapped = (
        run(model, tokens, segments=torch.tensor([ids])).hidden
        for ids in ([0] * 6, [0, 0, 0, 1, 1, 1], [5, 5, 5, 0, 0, 0])
    )
    assert apart(one, run(model, tokens).hidden) <= FP64
    assert apart(two, swapped) == 0
    assert apart(one, two) > 0.01


@each_permutation
@pytest.mark.parametrize("placement", [None, PreNorm()])
def test_a_history_reaches_one_layer_back_for_each_block(family: Family, placement: PreNorm | None) -> None:
    """A one-block network reads a text in pieces as it reads a text whose later part is hidden from the first."""
    changes = {} if placement is None else {"placement": placement}
    model = _model(family, n_layers=1, **changes)
    tokens = random_tokens(2, 9)
    first = run(model, tokens[:, :4], keep=9)
    second = run(model, tokens[:, 4:], history=first.history, keep=9)
    assert apart(second.hidden, run(model, tokens).hidden[:, 4:]) <= FP64
    assert second.history.length == 9
    assert run(model, tokens[:, 4:], history=first.history, keep=3).history.length == 3
    assert all(not state.requires_grad for state in model(tokens, keep=2).history.states)


@each_permutation
def test_a_history_with_padding_before_it(family: Family) -> None:
    model, tokens = _model(family), random_tokens(1, 9)
    mask = torch.tensor([[False, False, True, True]])
    padded = run(model, tokens[:, :4], mask=mask, keep=9).history
    alone = run(model, tokens[:, 2:4], keep=9).history
    ending = torch.tensor([[True] * 4 + [False]])
    after, wanted = (run(model, tokens[:, 4:], history=past, mask=ending).hidden for past in (padded, alone))
    assert apart(after[:, :4], wanted[:, :4]) <= FP64


@each_permutation
def test_what_does_not_fit_is_named(family: Family) -> None:
    model, tokens = _model(family), random_tokens(2, LENGTH)
    history = run(model, tokens, keep=4).history
    right = torch.tensor([[True] * LENGTH, [True] * (LENGTH - 1) + [False]])
    ended = run(model, tokens, mask=right, keep=4).history
    for options, words in (
        ({"history": History(history.states[1:])}, ("history=", "blocks", "same network")),
        ({"history": History(tuple(state[:1] for state in history.states))}, ("history=1", "rows", "same batch")),
        ({"history": ended}, ("history=", "end with real tokens", "on the left")),
        ({"history": history, "mask": right.flip(1)}, ("mask=", "begin with real tokens", "on the right")),
        ({"history": history, "documents": tokens * 0}, ("documents=", "history", "one text a row")),
        ({"keep": -1}, ("keep=-1", "negative")),
    ):
        with pytest.raises(InputError) as caught:
            run(model, tokens, **options)
        assert all(word in str(caught.value) for word in words), caught.value


@each(Decoder)
def test_a_decoder_has_neither_ranks_nor_history(family: Family) -> None:
    model, tokens = random_model(tiny(family)), random_tokens(1, 4)
    with pytest.raises(InputError) as caught:
        run(model, tokens, ranks=tokens, history=History(), keep=2)
    assert all(name in str(caught.value) for name in ("ranks=", "history=", "keep="))
