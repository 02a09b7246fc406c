"""ELECTRA's game: what is drawn, what counts as replaced, what both networks share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stemma.data import Frame
from stemma.families import BERT, ELECTRA
from stemma.nn import build
from stemma.nn.heads import Product
from stemma.objectives import Batch, Pass, ReplacedTokens, Setting, collate, counts
from stemma.objectives.replaced import narrowed, sampled
from stemma.spec import MaskedLMHead
from stemma.text import Roles

from ..tiny import random_model, tiny
from .vocabularies import CLASSED, apart, row, texts, vocabulary

KNOWN = vocabulary(37, CLASSED, sentinels=0)
FRAME = Frame((1,), (2,))


def settled(width: int = 0) -> tuple[Setting, torch.nn.Module, torch.nn.ModuleDict]:
    spec = tiny(ELECTRA)
    spec = spec.change(embedding=replace(spec.embedding, width=width))
    setting = Setting(KNOWN, 16, spec)
    companions = ReplacedTokens().companions(setting, seed=1)
    model = random_model(spec)
    ReplacedTokens().share(model, companions)
    return setting, model, companions.eval()


def batch_of(setting: Setting, n_rows: int = 4, n: int = 12) -> Batch:
    learns = Pass((ReplacedTokens(rate=0.4),))
    rows = [row(text, FRAME, (key,)) for key, text in enumerate(texts(KNOWN, n_rows * n, n))]
    return collate([learns.prepare(one, setting) for one in rows])


def test_every_masked_token_is_a_mask_and_every_token_is_judged() -> None:
    setting = Setting(KNOWN, 512, tiny(ELECTRA))
    masked = total = 0
    for number, text in enumerate(texts(KNOWN, 1_000_000, 500)):
        example = Pass((ReplacedTokens(),)).prepare(row(text, FRAME, (number,)), setting)
        places = example.targets["masked"].places
        assert np.flatnonzero(example.tokens == KNOWN.roles.mask).tolist() == places.tolist()
        assert example.targets["masked"].ids.tolist() == text[places - 1].tolist()
        assert len(example.draws["masked"]) == len(places)
        assert example.targets["replaced"].places.tolist() == list(range(502))
        masked, total = masked + len(places), total + 500
    assert masked / total == 0.15


def test_what_is_drawn_has_the_probabilities_of_the_logits() -> None:
    product = Product(torch.randn(1, 3).expand(40_000, 3), torch.randn(11, 3), torch.randn(11))
    numbers = torch.from_numpy(np.random.default_rng(0).random(40_000))
    drawn = sampled(product, numbers, chunk=7000 * 11)
    wanted = torch.nn.functional.linear(product.features[0], *product[1:]).softmax(-1)
    shares = drawn.bincount(minlength=11) / len(drawn)
    assert (abs(shares - wanted) < 4 * (wanted * (1 - wanted) / len(drawn)).sqrt() + 1e-4).all()


def test_the_ends_of_the_interval_are_tokens() -> None:
    product = Product(torch.zeros(2, 3), torch.randn(5, 3), None)
    assert sampled(product, torch.tensor([0.0, 1.0 - 2**-53], dtype=torch.float64)).tolist() == [0, 4]


@pytest.mark.parametrize("chunk", [1, 50, 10**6])
def test_chunks_draw_alike(chunk: int) -> None:
    product = Product(torch.randn(9, 3), torch.randn(20, 3), None)
    numbers = torch.rand(9)
    assert torch.equal(sampled(product, numbers, chunk), sampled(product, numbers))


def seen_by_the_judge(model: torch.nn.Module, companions: torch.nn.ModuleDict, batch: Batch) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    hook = model.register_forward_pre_hook(lambda module, args, given: seen.append(given["tokens"]), with_kwargs=True)
    ReplacedTokens().losses(model, companions, batch)
    hook.remove()
    return seen[0]


def test_a_row_is_replaced_alike_in_any_batch() -> None:
    setting, model, companions = settled()
    whole = batch_of(setting)
    alone = [
        collate([Pass((ReplacedTokens(rate=0.4),)).prepare(row(text, FRAME, (key,)), setting)])
        for key, text in enumerate(texts(KNOWN, 48, 12))
    ]
    rows = torch.cat([seen_by_the_judge(model, companions, batch) for batch in alone])
    assert torch.equal(seen_by_the_judge(model, companions, whole), rows)


def test_losses_are_those_of_plain_formulas() -> None:
    """A token that the generator drew right is no replacement."""
    setting, model, companions = settled()
    batch = batch_of(setting, n_rows=16)
    losses = ReplacedTokens().losses(model, companions, batch)
    masked, tokens = batch.asked["masked"], batch.inputs["tokens"]
    logits = companions["generator"](tokens).logits[masked.rows, masked.places]
    wanted = torch.nn.functional.cross_entropy(logits, masked.ids, reduction="sum")
    assert torch.allclose(losses["masked"], wanted, atol=1e-4)
    original = tokens.clone()
    original[masked.rows, masked.places] = masked.ids
    seen = seen_by_the_judge(model, companions, batch)
    by_chance = (seen == original)[masked.rows, masked.places].float().mean()
    assert 0 < by_chance < 1
    scores = model(seen).replaced
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(scores, (seen != original).float(), reduction="sum")
    assert torch.allclose(losses["replaced"], wanted, atol=1e-3)
    assert counts(batch)["replaced"] == tokens.numel()
    learns = Pass((ReplacedTokens(weight=2.0),))
    assert (learns.weight("masked"), learns.weight("replaced")) == (2.0, 100.0)


@pytest.mark.parametrize("width", [0, 14])
def test_tables_are_shared_and_both_learn(width: int) -> None:
    setting, model, companions = settled(width)
    generator = companions["generator"]
    assert generator.embeddings.token is model.embeddings.token
    assert generator.embeddings.position is model.embeddings.position
    losses = ReplacedTokens().losses(model.train(), companions.train(), batch_of(setting))
    losses["replaced"].backward(retain_graph=True)
    reached = {name for name, part in generator.named_parameters() if part.grad is not None}
    assert all(name.startswith("embeddings.") for name in reached), "judging teaches the generator's tables alone"
    losses["masked"].backward()
    missing = {name for name, part in [*model.named_parameters(), *generator.named_parameters()] if part.grad is None}
    assert not missing


def test_the_published_generators() -> None:
    """Every size of the family, by the share of its discriminator's width."""
    for size, share in {"small": 0.25, "base": 1 / 3, "large": 0.25}.items():
        found = narrowed(ELECTRA.build(f"{size} discriminator"), share)
        wanted = ELECTRA.build(f"{size} generator")
        assert build(found, device="meta").state_dict().keys() == build(wanted, device="meta").state_dict().keys()
        assert (found.d_model, found.n_heads, found.d_ff) == (wanted.d_model, wanted.n_heads, wanted.d_ff)
        assert found.embedding == wanted.embedding


def test_a_generator_as_wide_has_the_same_tables() -> None:
    spec = tiny(ELECTRA, n_kv_heads=4)
    assert narrowed(spec, 1.0) == spec.change(heads=(MaskedLMHead(),))


def test_equal_keys_give_equal_examples() -> None:
    setting = Setting(KNOWN, 16, tiny(ELECTRA))
    text = apart(KNOWN, 30)
    first, again, other = (Pass((ReplacedTokens(),)).prepare(row(text, FRAME, (key,)), setting) for key in (5, 5, 6))
    assert first.draws["masked"].tolist() == again.draws["masked"].tolist() != other.draws["masked"].tolist()


def test_what_is_missing_is_named() -> None:
    assert ReplacedTokens().faults(Setting(KNOWN, 16, ELECTRA.build())) == []
    bad = ReplacedTokens(rate=0.0, generator=2.0)
    words = " ".join(map(str, bad.faults(Setting(vocabulary(40, Roles()), 16, BERT.build()))))
    assert all(word in words for word in ("ReplacedTokenHead", "`mask`", "rate=0.0", "generator=2.0"))
