"""Every family learns: 200 steps on Python's own documentation beat the frequencies of what it is asked for.

Each learns by its own objective, or by the part of it that plain text allows, in a small network without dropout and by
plain AdamW. The bar is what the best constant guess loses on the very same targets: their entropy, in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stemma.families import catalogue
from stemma.nn import Model, RecurrentModel, build
from stemma.nn.experts import load_balancing_loss, router_z_loss
from stemma.spec import (
    Architecture,
    BlockPositions,
    Decoder,
    Dropout,
    EncoderDecoder,
    Family,
    MaskedLMHead,
    Permutation,
    ReplacedTokenHead,
    SpanBoundaryHead,
    TaskModules,
)
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, Forward, Joined, Scores, TiedScores, Words
from stemma.text import spell, train

from .tiny import tiny, tiny_recurrent

STEPS, LAST = 200, 20
RATES, BETAS = {Architecture: 3e-3, Recurrent: 2e-2}, (0.9, 0.95)
ROWS, LENGTH, WIDTH = 128, 8, 48
MASKED, SPAN = 0.2, 3  # the share of tokens that are masked; the length of a masked span
VOCAB, SPELLING = 264, 9
WEIGHTS = {"replaced": 50.0}  # that of a term of the loss, where it is not 1 (Clark et al. 2020, section 2)

# The network's output, and what was predicted: logits and targets.
Predictions = tuple[Any, dict[str, tuple[Tensor, Tensor]]]
Objective = Callable[[Any, Tensor, torch.Generator], Predictions]


class Corpus(NamedTuple):
    """Python's documentation as ids; the id that hides a token; the bytes of each token."""

    ids: Tensor
    mask: int
    spelt: Tensor


@cache
def corpus() -> Corpus:
    texts = [topics[name] for name in sorted(topics)]
    tokenizer = train(texts, vocab_size=VOCAB, special={"bos": "<s>", "mask": "<mask>"})
    spelt = torch.tensor([spell(tokenizer.text_of(token), SPELLING) for token in range(VOCAB)])
    ids = torch.tensor([token for text in texts for token in tokenizer.encode(text)])
    assert tokenizer.roles.mask is not None
    return Corpus(ids, tokenizer.roles.mask, spelt)


def hide(rows: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows with a share of their tokens masked, and which are."""
    chosen = torch.rand(rows.shape, generator=generator) < share
    return torch.where(chosen, corpus().mask, rows), chosen


def a_span(generator: torch.Generator) -> slice:
    """A few places, with at least one on either side."""
    start = int(torch.randint(1, LENGTH - SPAN, (), generator=generator))
    return slice(start, start + SPAN)


def following(model: Model, rows: Tensor, generator: torch.Generator) -> Predictions:
    """The next token (GPT)."""
    output = model(rows, routings=True)
    return output, {"next": (output.logits[:, :-1], rows[:, 1:])}


def filling(model: Model, rows: Tensor, generator: torch.Generator) -> Predictions:
    """A blank, from left to right, after the text around it was seen whole (GLM)."""
    span, mark = a_span(generator), torch.full_like(rows[:, :1], corpus().mask)
    text, answer = torch.cat((rows[:, : span.start], mark, rows[:, span.stop :]), 1), rows[:, span]
    places = torch.zeros(2, ROWS, LENGTH + 1, dtype=torch.long)
    places[0], places[0, :, -SPAN:] = torch.arange(LENGTH + 1), span.start
    places[1, :, -SPAN:] = torch.arange(SPAN) + 1
    tokens, prefix = torch.cat((text, mark, answer[:, :-1]), 1), torch.full((ROWS,), text.shape[1])
    output = model(tokens, prefix=prefix, places=places, routings=True)
    return output, {"blank": (output.logits[:, -SPAN:], answer)}


def both_tasks(model: Model, rows: Tensor, generator: torch.Generator) -> Predictions:
    """The next token by one task module, masked tokens by the other (ERNIE 3.0)."""
    output, predictions = following(model, rows, generator)
    seen, chosen = hide(rows, MASKED, generator)
    return output, predictions | {"masked": (model(seen, understanding=True).logits[chosen], rows[chosen])}


def denoising(model: Model, rows: Tensor, generator: torch.Generator) -> Predictions:
    """The text, of which the encoder sees a part (BART; Raffel et al. 2020, section 3.3.1)."""
    seen, _ = hide(rows, 2 * MASKED, generator)
    output = model(seen, decoder_tokens=rows[:, :-1])
    return output, {"text": (output.logits, rows[:, 1:])}


def masked(model: Model, rows: Tensor, generator: torch.Generator) -> Predictions:
    """Masked tokens (BERT)."""
    seen, chosen = hide(rows, MASKED, generator)
    output = model(seen)
    return output, {"masked": (output.logits[chosen], rows[chosen])}


def spans(model: Model, rows: Tensor, generator: torch.Generator) -> Predictions:
    """A masked span, from its own places and from what stands around it (SpanBERT)."""
    seen, span = rows.clone(), a_span(generator)
    seen[:, span] = corpus().mask
    output = model(seen, spans=torch.tensor([[span.start - 1, span.stop]]).expand(ROWS, 1, 2))
    return output, {
        "masked": (output.logits[:, span], rows[:, span]),
        "boundaries": (output.spans[:, 0, :SPAN], rows[:, span]),
    }


def replaced(models: nn.ModuleDict, rows: Tensor, generator: torch.Generator) -> Predictions:
    """Which tokens a small masked language model drew, that learns at the same time (ELECTRA)."""
    seen, chosen = hide(rows, MASKED, generator)
    guesses = models["generator"](seen).logits[chosen]
    drawn = torch.multinomial(guesses.detach().softmax(-1), 1, generator=generator)[:, 0]
    tokens = rows.masked_scatter(chosen, drawn)
    output = models["discriminator"](tokens)
    scores = torch.stack((torch.zeros_like(output.replaced), output.replaced), -1)
    return output, {"masked": (guesses, rows[chosen]), "replaced": (scores, (tokens != rows).long())}


def permuted(model: Model, rows: Tensor, generator: torch.Generator) -> Predictions:
    """Some of the tokens, in an order of their own (XLNet)."""
    order = torch.rand(rows.shape, generator=generator).argsort(-1).argsort(-1)
    chosen = order >= LENGTH * (1 - MASKED)
    output = model(rows, ranks=torch.where(chosen, order, -1))
    return output, {"permuted": (output.logits[chosen], rows[chosen])}


def from_both_sides(model: RecurrentModel, rows: Tensor, generator: torch.Generator) -> Predictions:
    """The next token and, where there is a second direction that knows nothing of the first, the one before (ELMo)."""
    output = model(corpus().spelt[rows] if isinstance(model.architecture.tokens, Characters) else rows)
    predictions = {"next": (output.logits[:, :-1], rows[:, 1:])}
    if output.backward_logits is not None:
        predictions["before"] = (output.backward_logits[:, 1:], rows[:, :-1])
    return output, predictions


def objective(spec: Architecture | Recurrent) -> Objective:
    """What a network learns by."""
    match spec:
        case Recurrent():
            return from_both_sides
        case Architecture(stacks=Decoder(), position=BlockPositions()):
            return filling
        case Architecture(stacks=Decoder()):
            return both_tasks if spec.modules else following
        case Architecture(stacks=EncoderDecoder()):
            return denoising
        case Architecture(stacks=Permutation()):
            return permuted
    by_head = {ReplacedTokenHead: replaced, SpanBoundaryHead: spans, MaskedLMHead: masked}
    return next(found for head, found in by_head.items() if spec.head(head))


def small(family: Family) -> Architecture | Recurrent:
    """The family's own parts at small sizes, without dropout; scores are added to recurrent layers that lack them."""
    if family.shape is Architecture:
        sizes: dict[str, Any] = dict(n_layers=2, d_model=WIDTH, d_head=12, d_ff=2 * WIDTH, dropout=Dropout())
        if family.traits["modules"] is not None:
            sizes["modules"] = TaskModules(n_layers=1, d_model=32, n_heads=4, d_ff=64)
        return tiny(family, vocab=VOCAB, **sizes)
    spec = tiny_recurrent(family)
    reads = spec.tokens if isinstance(spec.tokens, Characters) else Words(VOCAB, WIDTH)
    tied = spec.head(TiedScores)
    return spec.change(
        tokens=reads,
        widths=(*(WIDTH for _ in spec.widths[1:]), reads.d_embedding if tied else WIDTH),
        # A direction that has seen what follows cannot learn to predict it.
        directions=Forward() if isinstance(spec.directions, Joined) else spec.directions,
        heads=(tied or Scores(VOCAB),),
        dropout=type(spec.dropout)(),
    )


def network(spec: Architecture | Recurrent) -> nn.Module:
    """The network; a discriminator has a generator beside it, and the two share their table of tokens."""
    model = build(spec)
    if not isinstance(spec, Architecture) or not spec.head(ReplacedTokenHead):
        return model
    generator = build(spec.change(heads=(MaskedLMHead(),)), seed=1)
    generator.embeddings.token = model.embeddings.token
    return nn.ModuleDict({"discriminator": model, "generator": generator})


def entropy(targets: Tensor) -> float:
    """What knowing the frequencies alone leaves unknown, in nats."""
    return float(torch.special.entr(targets.flatten().bincount() / targets.numel()).sum())


@pytest.mark.slow
@pytest.mark.parametrize("family", catalogue(), ids=lambda family: family.name)
def test_200_steps_beat_the_frequencies(family: Family, figure: Callable[..., None]) -> None:
    spec = small(family)
    model, ask = network(spec), objective(spec)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATES[family.shape], betas=BETAS)
    generator, ids = torch.Generator().manual_seed(0), corpus().ids
    last: dict[str, list[tuple[float, Tensor]]] = {}
    for step in range(STEPS):
        starts = torch.randint(len(ids) - LENGTH, (ROWS, 1), generator=generator)
        output, predictions = ask(model, ids[starts + torch.arange(LENGTH)], generator)
        losses = {name: functional.cross_entropy(x.flatten(0, -2), y.flatten()) for name, (x, y) in predictions.items()}
        loss = torch.stack([WEIGHTS.get(name, 1.0) * value for name, value in losses.items()]).sum()
        if getattr(output, "routings", None):
            loss = loss + 0.01 * load_balancing_loss(output.routings) + 0.001 * router_z_loss(output.routings)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for name, value in losses.items() if step >= STEPS - LAST else ():
            last.setdefault(name, []).append((float(value.detach()), predictions[name][1].flatten()))
    for name, measured in last.items():
        mean, bar = sum(value for value, _ in measured) / LAST, entropy(torch.cat([targets for _, targets in measured]))
        figure(name, family=family.name, loss=round(mean, 3), entropy=round(bar, 3))
        assert mean < bar, name
