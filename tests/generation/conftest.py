"""Small models for the tests of generation: a random tree of distributions, and tiny models of every family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from stemma.generation import Hypothesis, ModelStepper
from stemma.nn import Model
from stemma.spec import Decoder, EncoderDecoder, Family, LanguageModelHead

from ..tiny import marked, networks, small_parts

DECODER_START = 1


class Tree:
    """A stepper whose logits depend on all that a row has read, so that a wrong row cannot go unseen."""

    def __init__(self, vocab_size: int, seed: int = 0, spread: float = 2.0) -> None:
        self.vocab_size = vocab_size
        self.seed = seed
        self.spread = spread
        self.rows: list[tuple[int, ...]] = []
        self.batches: list[int] = []
        self.known: dict[tuple[int, ...], Tensor] = {}

    def logits(self, ids: Sequence[int]) -> Tensor:
        if (place := tuple(ids)) not in self.known:
            generator = torch.Generator().manual_seed(hash((self.seed, *place)) % 2**63)
            noise = torch.randn(self.vocab_size, generator=generator, dtype=torch.float64)
            self.known[place] = self.spread * noise
        return self.known[place]

    def start(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> Tensor:
        self.rows = [tuple(prompt) for prompt in prompts]
        return self._read()

    def step(self, tokens: Tensor) -> Tensor:
        self.rows = [(*row, token) for row, token in zip(self.rows, tokens.tolist(), strict=True)]
        return self._read()

    def reorder(self, rows: Tensor) -> None:
        self.rows = [self.rows[row] for row in rows.tolist()]

    def history(self, prompt: Sequence[int]) -> list[int]:
        return list(prompt)

    def _read(self) -> Tensor:
        self.batches.append(len(self.rows))
        return torch.stack([self.logits(row) for row in self.rows])

    def texts(
        self, prompt: Sequence[int], limit: int, stops: frozenset[int]
    ) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every text that can follow, with its log-probability, written out."""
        yield from self._texts(tuple(prompt), (), 0.0, limit, stops)

    def _texts(
        self, prompt: tuple[int, ...], tokens: tuple[int, ...], logprob: float, limit: int, stops: frozenset[int]
    ) -> Iterator[tuple[tuple[int, ...], float]]:
        if len(tokens) == limit or (tokens and tokens[-1] in stops):
            yield tokens, logprob
            return
        for token, step in enumerate(self.logits(prompt + tokens).log_softmax(-1).tolist()):
            yield from self._texts(prompt, (*tokens, token), logprob + step, limit, stops)


@pytest.fixture(scope="session")
def tree() -> type[Tree]:
    """Makes random trees: `tree(vocab_size, seed)`."""
    return Tree


def build(family: Family, **changes: object) -> Model:
    """A tiny model in double precision whose distributions are far from uniform."""
    sizes = {"n_layers": 2, "d_model": 24, "n_heads": 4, "d_head": 12, "d_ff": 40, **small_parts(family, 17)}
    sizes |= {"vocab_size": 17, "vision": None, **changes}
    model = Model(family.build(**sizes), seed=0, dtype=torch.float64).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.4, generator=generator)
    return model


WRITERS = [family for family in networks(Decoder, EncoderDecoder) if family.build().head(LanguageModelHead)]


@pytest.fixture(scope="session", params=marked(WRITERS))
def writer(request: pytest.FixtureRequest) -> Model:
    """A tiny model of every family that can write."""
    return build(request.param)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Model]:
    """Makes tiny models: `tiny(family, n_layers=1)`."""
    return build


@pytest.fixture(scope="session")
def stepper_of() -> Callable[[Model], ModelStepper]:
    """A stepper over a model of any kind."""

    def make(model: Model) -> ModelStepper:
        paired = isinstance(model.architecture.stacks, EncoderDecoder)
        return ModelStepper(model, DECODER_START if paired else None)

    return make


@pytest.fixture(scope="session")
def uncached() -> Callable[[Model, Sequence[int], Sequence[int]], Tensor]:
    """Log-probabilities of all that follows a prompt and some tokens, in one pass without cache, batch or padding."""

    def run(model: Model, prompt: Sequence[int], tokens: Sequence[int]) -> Tensor:
        with torch.no_grad():
            if isinstance(model.architecture.stacks, EncoderDecoder):
                begun = torch.tensor([[DECODER_START, *tokens]])
                logits = model(torch.tensor([prompt]), decoder_tokens=begun).logits
            else:
                logits = model(torch.tensor([[*prompt, *tokens]])).logits
        return logits[0, -len(tokens) - 1 :].log_softmax(-1)

    return run


@pytest.fixture(scope="session")
def same() -> Callable[[list[list[Hypothesis]], list[list[Hypothesis]]], bool]:
    """Whether two searches found the same tokens with the same figures, but for the last digits."""

    def compare(first: list[list[Hypothesis]], second: list[list[Hypothesis]]) -> bool:
        assert [[text.tokens for text in row] for row in first] == [[text.tokens for text in row] for row in second]
        pairs = [(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)]
        return all(
            a.logprobs == pytest.approx(b.logprobs, abs=1e-9)
            and a.score == pytest.approx(b.score, abs=1e-9)
            and a.finished == b.finished
            for a, b in pairs
        )

    return compare
