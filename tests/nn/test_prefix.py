"""A prefix that is seen whole, for every decoder, and blanks that are filled after it (GLM)."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stemma.errors import InputError
from stemma.families import family as family_named
from stemma.nn import Model
from stemma.spec import BlockPositions, Decoder, Family
from stemma.spec.count import parameters

from ..tiny import VOCAB, apart, each, random_model, random_tokens, results, tiny
from ..tolerances import FP64

GLM = family_named("glm")
LENGTH = 9

each_prefix_reader = each(Decoder)


@cache
def _model(family: str) -> Model:
    return random_model(tiny(family_named(family)), dtype=torch.float64)


@each_prefix_reader
def test_tokens_of_the_prefix_see_each_other_and_nothing_of_the_rest(family: Family) -> None:
    model, tokens = _model(family.name), random_tokens(2, LENGTH)
    prefix = torch.tensor([4, 0])
    narrow = any(model.architecture.window(layer) for layer in range(model.architecture.n_layers))
    with torch.no_grad():
        before = model(tokens, prefix=prefix).hidden
        for place in range(LENGTH):
            other = tokens.clone()
            other[:, place] = (other[:, place] + 1) % VOCAB
            moved = (model(other, prefix=prefix).hidden - before).abs().amax(-1) > FP64
            for row, length in enumerate(prefix.tolist()):
                first = 0 if place < length else place
                assert not moved[row, :first].any()
                # Through a window not all of the prefix may notice.
                assert narrow or moved[row, first:].all()


@each_prefix_reader
@pytest.mark.parametrize("left", [False, True])
def test_padding_changes_nothing(family: Family, left: bool) -> None:
    model, text = _model(family.name), random_tokens(1, 7)
    prefix = torch.tensor([4])
    filling = random_tokens(1, 2, seed=1)
    tokens = torch.cat((filling, text) if left else (text, filling), 1)
    mask = torch.arange(LENGTH)[None] >= 2 if left else torch.arange(LENGTH)[None] < 7
    with torch.no_grad():
        alone, padded = model(text, prefix=prefix).hidden, model(tokens, mask=mask, prefix=prefix).hidden
    assert apart(padded[mask][None], alone) <= FP64


@each_prefix_reader
@given(data=st.data())
def test_cached_is_as_uncached(family: Family, data: st.DataObject) -> None:
    """Rows padded on the left, a prefix each, and the rest in pieces."""
    model = _model(family.name)
    starts = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=2), label="starts"))
    prefix = torch.tensor(data.draw(st.lists(st.integers(0, 4), min_size=2, max_size=2), label="prefix"))
    tokens, mask = random_tokens(2, LENGTH), torch.arange(LENGTH) >= starts[:, None]
    held = model.new_cache(2, LENGTH, starts=starts, prefix=prefix)
    with torch.no_grad():
        whole = results(model(tokens, mask=mask, prefix=prefix))
        first = data.draw(st.integers(max(1, held.prefix_end), LENGTH), label="first piece")
        size = data.draw(st.integers(1, 3), label="other pieces")
        for at, end in pairwise([0, *range(first, LENGTH, size), LENGTH]):
            for name, value in results(model.decode(tokens[:, at:end], cache=held)).items():
                real = mask[:, at:end]
                assert apart(value[real], whole[name][:, at:end][real]) <= FP64, name


def _places(prefix: int, blank: int, length: int) -> torch.Tensor:
    """Written out: a text, and what fills its blank."""
    text = [(place, 0) for place in range(prefix)]
    return torch.tensor(text + [(blank, inside + 1) for inside in range(length - prefix)]).T[:, None]


def test_a_blank_is_filled_through_a_cache() -> None:
    model, tokens = _model("glm"), random_tokens(2, LENGTH)
    prefix, blanks = torch.tensor([5, 3]), torch.tensor([2, 1])
    places = torch.cat([_places(5, 2, LENGTH), _places(3, 1, LENGTH)], 1)
    with torch.no_grad():
        whole = model(tokens, places=places, prefix=prefix).logits
        held = model.new_cache(2, LENGTH, prefix=prefix, blanks=blanks)
        parts = [model.decode(piece, cache=held).logits for piece in tokens.split([6, 1, 2], 1)]
        assert apart(torch.cat(parts, 1), whole) <= FP64
        held.trim(6)
        held.reorder(torch.tensor([1, 1, 0]))
        again = model.decode(tokens[[1, 1, 0], 6:], cache=held).logits
        assert apart(again, whole[[1, 1, 0], 6:]) <= FP64


def test_left_padding_moves_no_place() -> None:
    model, tokens = _model("glm"), random_tokens(1, 7)
    places = _places(4, 2, 7)
    with torch.no_grad():
        alone = model(tokens, places=places, prefix=torch.tensor([4])).logits
        padded = torch.cat((random_tokens(1, 2, seed=1), tokens), 1)
        held = model.new_cache(1, LENGTH, starts=torch.tensor([2]), prefix=torch.tensor([4]), blanks=torch.tensor([2]))
        read = model.decode(padded, cache=held).logits
    assert apart(read[:, 2:], alone) <= FP64


def test_without_places_a_text_has_no_blanks() -> None:
    model, tokens = _model("glm"), random_tokens(1, LENGTH)
    places = torch.stack((torch.arange(LENGTH), torch.zeros(LENGTH, dtype=torch.long)))[:, None]
    assert apart(model(tokens).logits, model(tokens, places=places).logits) == 0


def test_both_places_count() -> None:
    model, tokens = _model("glm"), random_tokens(1, LENGTH)
    places, prefix = _places(5, 2, LENGTH), torch.tensor([5])
    plain = model(tokens, places=places, prefix=prefix).logits
    for table in (0, 1):
        other = places.clone()
        other[table, 0, -1] += 1
        moved = (model(tokens, places=other, prefix=prefix).logits - plain).abs().amax(-1)[0] > FP64
        assert moved.tolist() == [False] * (LENGTH - 1) + [True]


@torch.no_grad()
def test_what_cannot_be_is_refused() -> None:
    glm, gpt = _model("glm"), _model("gpt2")
    tokens, two = random_tokens(1, LENGTH), torch.tensor([2])
    with pytest.raises(InputError, match="cannot go with documents"):
        gpt(tokens, prefix=two, documents=torch.zeros_like(tokens))
    with pytest.raises(InputError, match="make the cache with prefix="):
        gpt(tokens, prefix=two, cache=gpt.new_cache(1, LENGTH))
    with pytest.raises(InputError, match=r"(?s)need BlockPositions.*are filled after a prefix"):
        gpt.new_cache(1, LENGTH, blanks=two)
    held = glm.new_cache(1, 40, prefix=torch.tensor([5]), blanks=two)
    with pytest.raises(InputError, match="do not hold the prefix, which ends at slot 5"):
        glm.decode(tokens[:, :4], cache=held)
    glm.decode(tokens, cache=held)
    with pytest.raises(InputError, match="cuts the prefix"):
        held.trim(3)
    with pytest.raises(InputError, match="table of 17 rows"):
        glm.decode(random_tokens(1, 13), cache=held)
    with pytest.raises(InputError, match="table of 17 rows"):
        glm(tokens, places=torch.stack((torch.zeros_like(tokens), torch.full_like(tokens, 17))))
    bart = _model("bart")
    with pytest.raises(InputError, match="prefix='given' is not read"):
        bart.new_cache(1, LENGTH, prefix=two, memory=bart.encode(tokens))


@pytest.mark.parametrize(
    ("size", "published", "error"),
    [
        ("base", 110e6, 0.01),
        ("large", 335e6, 0.01),
        ("410M", 410e6, 0.01),
        ("515M", 515e6, 0.01),
        ("2B", 2e9, 0.05),  # rounded to one digit
        ("10B", 10e9, 0.05),
    ],
)
def test_published_sizes(size: str, published: float, error: float) -> None:
    spec = GLM.build(size)
    assert parameters(spec) == pytest.approx(published, rel=error)
    assert isinstance(spec.position, BlockPositions)


def test_wudao_has_the_published_count() -> None:
    assert parameters(family_named("wudao-moe").build()) == pytest.approx(1.75e12, rel=0.01)
