"""What makes a family different: each part does what its paper says, on every family that has it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from stemma.errors import InputError
from stemma.families import ELECTRA, FALCON, FALCON_40B, PALM, SBERT
from stemma.families import family as family_named
from stemma.nn import Mask, Model
from stemma.nn.embeddings import KINDS
from stemma.nn.feedforward import FeedForward
from stemma.nn.positions import position_ids
from stemma.nn.stacks import Stack
from stemma.spec import (
    NO_BIAS,
    Alibi,
    Architecture,
    BlockPositions,
    Decoder,
    Family,
    Gated,
    LayerNorm,
    Learned,
    Parallel,
    PostNorm,
    RelativeBuckets,
    Rotary,
    Sinusoidal,
    SpanBoundaryHead,
    count,
    diff,
)

from ..tiny import LONGEST, apart, networks, random_model, random_tokens, results, run, tiny
from ..tolerances import FP64


def having(trait: Callable[[Architecture], object]) -> pytest.MarkDecorator:
    """Run a test for every network whose architecture has something."""
    found = [family for family in networks(object) if trait(tiny(family))]
    assert found, "the tree has no such family"
    return pytest.mark.parametrize("family", found, ids=lambda family: family.name)


every = having(lambda spec: True)


def model_of(family: Family, **changes: object) -> Model:
    return random_model(tiny(family, **changes), dtype=torch.float64)


def names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def first_stack(model: Model) -> Stack:
    """The decoder where there is no encoder."""
    stack = model.encoder or model.decoder
    assert stack is not None
    return stack


# --- Norms and offsets -----------------------------------------------------------------------------------------------


@every
def test_norms_have_the_parameters_that_are_said(family: Family) -> None:
    """OLMo's have none, PaLM's and RMSNorm's no offset."""
    model, norm = model_of(family, vision=None), family.traits["norm"]
    ends = {name.rpartition(".")[2] for name in names(model) if "norm." in name}
    gain, offset = (norm.gain, norm.offset) if isinstance(norm, LayerNorm) else (True, False)
    assert ends == {name for name, there in (("weight", gain), ("bias", offset)) if there}


@having(lambda spec: spec.bias == NO_BIAS and not getattr(spec.norm, "offset", False))
def test_there_is_no_offset_anywhere(family: Family) -> None:
    """PaLM, T5 and LLaMA."""
    assert not [name for name in names(model_of(family, vision=None)) if name.endswith("bias")]


@every
def test_the_norms_of_a_block_are_where_its_placement_puts_them(family: Family) -> None:
    """One together where attention and feed-forward run in parallel (PaLM, Falcon 7B); two in Falcon 40B."""
    stack, placement = first_stack(model_of(family)), family.traits["placement"]
    assert [hasattr(block, "feedforward_norm") for block in stack.blocks] == [placement != Parallel()] * len(
        stack.blocks
    )
    assert (stack.norm is None) == isinstance(placement, PostNorm)


def test_falcon_has_two_layouts() -> None:
    small, large = FALCON.build("7B"), FALCON_40B.build("40B")
    assert (small.placement, small.n_kv_heads) == (Parallel(), 1)
    assert (large.placement, large.n_kv_heads) == (Parallel(separate=True), 8)


@having(lambda spec: isinstance(spec.stacks, Decoder) and not isinstance(spec.placement, PostNorm))
def test_parallel_parts_do_not_read_each_other(family: Family) -> None:
    """What a block adds is the sum of what its two parts add alone; in a block that runs them in turn it is not."""
    model, tokens = model_of(family), random_tokens(2, 7)

    def added(*silent: str) -> Tensor:
        """What the first block adds to the stream while parts of it give nothing."""
        other = deepcopy(model)
        for name, value in first_stack(other).blocks[0].named_parameters():
            if name.startswith(silent) and {"output", "down"} & set(name.split(".")):
                nn.init.zeros_(value)
        before, after, *_ = run(other, tokens, hiddens=True).hiddens or ()
        return after - before

    assert not added("attention.", "feedforward.").any()
    difference = apart(added(), added("attention.") + added("feedforward."))
    assert (difference <= FP64) == isinstance(family.traits["placement"], Parallel)


@having(lambda spec: spec.embedding.norm and not spec.embedding.width)
def test_a_norm_ends_the_embedding(family: Family) -> None:
    """BERT and BLOOM."""
    model = model_of(family)
    norm = model.embeddings.norm
    assert norm is not None
    nn.init.ones_(norm.weight)
    nn.init.zeros_(norm.bias)
    first = (run(model, random_tokens(2, 7), hiddens=True).hiddens or ())[0]
    assert apart(first.mean(-1), torch.zeros(2, 7)) <= FP64
    assert apart(first.var(-1, unbiased=False), torch.ones(2, 7)) < 1e-3


# --- Positions -------------------------------------------------------------------------------------------------------


@every
def test_relative_positions_do_not_tell_where_a_text_stands(family: Family) -> None:
    """Moved as a whole it gives the same (Gopher, LaMDA, T5, XLNet, BLOOM, LLaMA), but with vectors of places."""
    model, tokens = model_of(family), random_tokens(2, 7)
    stack, mask = first_stack(model), Mask(causal=model.encoder is None)
    blanks = isinstance(family.traits["position"], BlockPositions)

    def at(start: int) -> Tensor:
        positions = position_ids(7, start, tokens.device)
        places = torch.stack((positions, torch.zeros_like(positions))) if blanks else positions
        with torch.no_grad():
            return stack(model.embeddings(tokens, places)[0], places, mask)

    absolute = isinstance(family.traits["position"], Learned | Sinusoidal | BlockPositions)
    assert (apart(at(0), at(5)) > FP64) == absolute


@every
def test_only_tables_of_positions_end(family: Family) -> None:
    """Three times the longest text is read where there is none (BLOOM and all that are relative)."""
    model, tokens = model_of(family), random_tokens(1, 3 * LONGEST)
    if model.architecture.max_tokens is None:
        assert run(model, tokens).hidden.isfinite().all()
    else:
        with pytest.raises(InputError, match=f"exceeds the {LONGEST} learned positions"):
            run(model, tokens)


@having(lambda spec: isinstance(spec.position, RelativeBuckets))
def test_all_blocks_of_a_stack_share_their_buckets(family: Family) -> None:
    """T5 and LaMDA."""
    spec = tiny(family)
    tables = [name for name in names(model_of(family)) if "relative_bias" in name]
    assert len(tables) == bool(spec.n_encoder_layers) + bool(spec.n_decoder_layers)


@having(lambda spec: isinstance(spec.position, Alibi))
def test_all_else_equal_the_nearer_is_seen_more(family: Family) -> None:
    """At a slope of each head's own."""
    model = model_of(family)
    nn.init.zeros_(first_stack(model).blocks[0].attention.query.weight)
    nn.init.zeros_(first_stack(model).blocks[0].attention.query.bias)
    (last,) = (run(model, random_tokens(1, 9), attentions=True).attentions or ())[0][:, :, -1]
    steps = last.log().diff(dim=-1)
    assert apart(steps, steps[:, :1].expand_as(steps)) <= FP64
    assert (steps > 0).all()
    assert len(set(steps[:, 0].tolist())) == len(last)


@having(lambda spec: isinstance(spec.position, Rotary) and isinstance(spec.stacks, Decoder))
@pytest.mark.parametrize("silent", ["turned", "rest"])
def test_a_share_of_a_head_s_channels_is_turned(family: Family, silent: str) -> None:
    """Without the channels that are turned the order of what precedes cannot be told (GLM-4: half of them)."""
    model, tokens = model_of(family, n_layers=1), random_tokens(1, 5)  # as many as the narrowest window holds
    spec, attention = model.architecture, first_stack(model).blocks[0].attention
    channel = torch.arange(spec.n_heads * spec.d_head) % spec.d_head
    off = (channel < spec.d_rotary) == (silent == "turned")
    with torch.no_grad():
        for value in attention.query.parameters():
            value[off] = 0.0
    last, swapped = (run(model, tokens[:, order]).hidden[:, -1] for order in ([0, 1, 2, 3, 4], [3, 1, 0, 2, 4]))
    assert (apart(last, swapped) > FP64) == (silent == "rest")


# --- Attention -------------------------------------------------------------------------------------------------------


@having(lambda spec: isinstance(spec.stacks, Decoder))
def test_each_block_looks_back_as_far_as_its_window(family: Family) -> None:
    """GPT-3 in every second block, Mistral in all."""
    model, length = model_of(family), 13
    maps = run(model, random_tokens(1, length), attentions=True).attentions or ()
    distance = torch.arange(length)[:, None] - torch.arange(length)
    for layer in range(model.architecture.n_layers):
        window = model.architecture.window(layer) or length
        assert torch.equal((maps[layer] > 0).all(1)[0], (distance >= 0) & (distance < window))


def test_palm_has_one_head_of_keys_and_of_values() -> None:
    model = Model(PALM.build("540B"), seed=None, device="meta")
    attention = first_stack(model).blocks[-1].attention
    assert {attention.key.weight.shape, attention.value.weight.shape} == {(256, 18_432)}
    assert attention.query.weight.shape == (48 * 256, 18_432)


# --- Feed-forward ----------------------------------------------------------------------------------------------------


@having(lambda spec: isinstance(spec.feedforward, Gated))
def test_a_closed_gate_lets_nothing_through(family: Family) -> None:
    """LaMDA, PaLM, LLaMA, T5 1.1; experts too."""
    model = model_of(family)
    gated = [module for module in model.modules() if isinstance(module, FeedForward) and hasattr(module, "gate")]
    x = torch.ones(1, 1, model.architecture.d_model, dtype=torch.float64)
    assert gated
    for network in gated:
        assert network(x).abs().max() > FP64
        nn.init.zeros_(network.gate.weight)
        assert not network(x).any()


@having(lambda spec: spec.experts)
def test_only_the_chosen_experts_matter(family: Family) -> None:
    """Mixtral: two for a token; what the others hold is not read."""
    model, token = model_of(family), random_tokens(1, 1)
    before = run(model, token, routings=True)
    for block, routing in zip(first_stack(model).blocks, before.routings or (), strict=True):
        chosen = set(routing.chosen.flatten().tolist())
        assert len(chosen) == 2
        for number, expert in enumerate(block.feedforward.experts):
            if number not in chosen:
                nn.init.constant_(expert.down.weight, float("nan"))
    assert apart(run(model, token).hidden, before.hidden) == 0
    nn.init.zeros_(block.feedforward.experts[min(chosen)].down.weight)
    assert apart(run(model, token).hidden, before.hidden) > FP64


# --- Tables and heads ------------------------------------------------------------------------------------------------


def rows_of(family: Family, kind: str) -> int:
    """How many vectors of a kind it tells apart."""
    spec = tiny(family)
    relative = kind == "segments" and getattr(spec.position, "segments", False)
    return 2 if relative else getattr(spec.embedding, kind)


@pytest.mark.parametrize("kind", KINDS)
@every
def test_what_is_told_of_a_token_is_read_or_refused(family: Family, kind: str) -> None:
    """XLM's languages, ERNIE 2.0's tasks, BERT's segments."""
    model, tokens, rows = model_of(family), random_tokens(2, 7), rows_of(family, kind)
    if rows == 0:
        with pytest.raises(InputError, match=f"{kind}='given' is not read"):
            run(model, tokens, **{kind: torch.zeros_like(tokens)})
        return
    # All of a text is of the first kind, or half of it of the last one: the same where there is one kind alone.
    halves = (torch.arange(7) > 3).long().expand(2, 7) * (rows - 1)
    first, both = (run(model, tokens, **{kind: told}).hidden for told in (torch.zeros_like(tokens), halves))
    assert (apart(first, both) > FP64) == (rows > 1)


@having(lambda spec: spec.shared_layers)
def test_layers_that_are_shared_cost_nothing_more(family: Family) -> None:
    """ALBERT."""
    few, many = (tiny(family, n_layers=n) for n in (2, 12))
    assert count.parameters(few) == count.parameters(many) == sum(value.numel() for value in Model(many).parameters())
    assert len(first_stack(Model(many)).blocks) == 1


@having(lambda spec: spec.embedding.width)
def test_a_factorised_table_is_as_narrow_as_is_said(family: Family) -> None:
    """ALBERT and ELECTRA's small sizes: a map leads to the blocks' width."""
    model = model_of(family)
    spec = model.architecture
    assert model.embeddings.token.weight.shape == (spec.vocab_size, spec.embedding.width)
    assert model.embeddings.widening.weight.shape == (spec.d_model, spec.embedding.width)


@having(lambda spec: spec.head(SpanBoundaryHead))
def test_a_span_is_told_from_what_stands_around_it(family: Family) -> None:
    """SpanBERT: two vectors and the place decide; what stands inside does not."""
    model = model_of(family)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 9, model.architecture.d_model, dtype=torch.float64, generator=generator)

    def scores(changed: int | None = None) -> Tensor:
        other = hidden.clone()
        if changed is not None:
            other[:, changed] += 1.0
        with torch.no_grad():
            return model.heads["span"](other, torch.tensor([[[2, 6]]]), model.embeddings.token.weight)[0, 0]

    moved = [place for place in range(9) if apart(scores(place), scores()) > FP64]
    assert moved == [2, 6]
    assert apart(scores()[0], scores()[1]) > FP64


def test_the_generators_of_electra_share_their_table_with_the_discriminators() -> None:
    """Tables of the same width: section 3.2."""
    for size in ("small", "base", "large"):
        generator, discriminator = (ELECTRA.build(f"{size} {part}") for part in ("generator", "discriminator"))
        assert generator.d_embedding == discriminator.d_embedding
        assert generator.d_model < discriminator.d_model


def test_sbert_is_read_at_its_hidden_states_alone() -> None:
    assert all(not SBERT.build(size).heads for size in SBERT.sizes)
    assert list(results(run(model_of(SBERT, heads=()), random_tokens(2, 5)))) == ["hidden"]


# --- The same network ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mbert", "cpm", "vicuna", "orca"])
def test_some_differ_in_data_and_sizes_alone(name: str) -> None:
    """What the tree says of them is what their authors say."""
    member = family_named(name)
    assert member.parent is not None
    assert diff(member.traits, member.parent.traits) == ()
    assert {"data", "tokenizer"} & {change.path for change in diff(member, member.parent)}
