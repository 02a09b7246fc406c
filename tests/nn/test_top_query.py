"""PanGu-alpha's last block: it asks with positions alone."""

from __future__ import annotations

import pytest
import torch

from stemma.families import family
from stemma.nn import Model
from stemma.nn.blocks import Surroundings
from stemma.nn.masks import Scores
from stemma.nn.top_query import QueryBlock
from stemma.spec import PostNorm
from stemma.spec.count import parameters

from ..tiny import LONGEST, apart, random_model, random_tokens, tiny
from ..tolerances import FP64

PANGU = family("pangu-alpha")


def _model(**changes: object) -> Model:
    return random_model(tiny(PANGU, **changes), dtype=torch.float64)


def test_it_is_the_last_block_as_the_paper_writes_it() -> None:
    """Attention of position vectors on the normalised stream, and no norm after the block (Huawei's code)."""
    model, tokens = _model(n_kv_heads=4), random_tokens(2, 7)
    output = model(tokens, hiddens=True, attentions=True)
    last = model.decoder.blocks[-1]
    assert isinstance(last, QueryBlock)
    assert [isinstance(block, QueryBlock) for block in model.decoder.blocks] == [False, False, True]
    below = model.decoder.blocks[1](output.hiddens[1], Surroundings(Scores(causal=True)))
    stream = model.decoder.norm(below)
    assert apart(stream, output.hiddens[2]) <= FP64
    attention, read = last.attention, last.attention_norm(stream)
    query = attention.query(last.next_position.weight[:7]).unflatten(-1, (4, 6))
    key, value = (part(read).unflatten(-1, (4, 6)) for part in (attention.key, attention.value))
    scores = torch.einsum("shk,bthk->bhst", query, key) * 6**-0.5
    weights = scores.masked_fill(torch.ones(7, 7, dtype=torch.bool).triu(1), float("-inf")).softmax(-1)
    assert apart(output.attentions[-1], weights) <= FP64
    stream = stream + attention.output(torch.einsum("bhst,bthk->bshk", weights, value).flatten(-2))
    assert apart(output.hidden, stream + last.feedforward(last.feedforward_norm(stream))) <= FP64


def test_what_stands_at_a_position_asks_nothing() -> None:
    """With equal keys below, the map cannot tell one text from another; any other block's can."""
    model, (first, second) = _model(), random_tokens(2, 7).split(1)
    with torch.no_grad():
        model.decoder.blocks[-1].attention.key.weight.zero_()
        model.decoder.blocks[0].attention.key.weight.mul_(3)
        maps = [model(tokens, attentions=True).attentions for tokens in (first, second)]
    assert apart(maps[0][-1], maps[1][-1]) <= FP64
    assert apart(maps[0][0], maps[1][0]) > 1e-3


def test_queries_alone_have_the_second_table() -> None:
    model, tokens = _model(), random_tokens(1, 7)
    before = model(tokens, attentions=True)
    table = model.decoder.blocks[-1].next_position.weight
    with torch.no_grad():
        table[4] += 1
    after = model(tokens, attentions=True)
    changed = (after.hidden - before.hidden).abs().amax(-1)[0] > FP64
    assert changed.tolist() == [place == 4 for place in range(7)]
    assert apart(after.attentions[-2], before.attentions[-2]) == 0


def test_the_query_follows_the_position_in_the_text() -> None:
    """Padded, packed and continued texts ask with the rows that they would ask with alone."""
    model, text = _model(), random_tokens(1, 5)
    alone = model(text, attentions=True).attentions[-1]
    padded = model(torch.cat((text, text), 1), mask=torch.arange(10)[None] >= 5, attentions=True).attentions[-1]
    packed = model(torch.cat((text, text), 1), documents=torch.arange(10)[None] // 5, attentions=True).attentions[-1]
    for maps in (padded, packed):
        assert apart(maps[:, :, 5:, 5:], alone) <= FP64


def test_with_post_norm_there_is_no_norm_to_move() -> None:
    model = _model(placement=PostNorm())
    assert model.decoder.norm is None
    assert model(random_tokens(1, LONGEST)).logits.isfinite().all()


@pytest.mark.parametrize(("size", "published"), [("2.6B", 2.6e9), ("200B", 207.0e9)])
def test_published_sizes(size: str, published: float) -> None:
    assert parameters(PANGU.build(size)) == pytest.approx(published, rel=0.01)


def test_the_published_13b_counts_one_block_more_than_its_table() -> None:
    spec = PANGU.build("13B")
    assert parameters(spec) == pytest.approx(12.8e9, rel=0.001)
    assert parameters(spec.change(n_layers=41)) == pytest.approx(13.1e9, rel=0.002)
