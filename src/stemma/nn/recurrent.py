"""A whole recurrent network built from a spec. It sees ids, vectors and masks; never text, and never a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.errors import Fault, InputError
from stemma.nn.characters import CharacterVectors
from stemma.nn.embeddings import check_ids
from stemma.nn.heads import Product
from stemma.nn.lstm import State, build_cell
from stemma.nn.recurrent_parts import LayerMix, WordScores, WordVectors
from stemma.nn.task_heads import build_task_head, judge
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import (
    Apart,
    Characters,
    RecurrentHead,
    ScalarMix,
    Scores,
    TiedScores,
    Tokens,
    Vectors,
    Words,
)

States = tuple[tuple[State, ...], ...]
"""Of each layer, of each direction."""


@dataclass(frozen=True)
class RecurrentOutput:
    """What a forward pass gives; zeros stand where a token is not real.

    Args:
        hidden: outputs of the last layer, those of both directions side by side; in training after its dropout.
        layers: the token vectors, twice where two networks read them, and what each layer gives, before dropout.
        state: what `forward` takes to go on where this text ends.
        logits: scores of the token after each position, where there is such a head.
        backward_logits: scores of the token before each position, where there are two directions too.
        mixed: the learned mix of the layers, where there is such a head.
        classes: see `stemma.nn.outputs.Output`, as for those that follow.
        tags: scores of each token.
        answers: two scores a token.
    """

    hidden: Float[Tensor, "B S D"]
    layers: tuple[Tensor, ...]
    state: States
    logits: Float[Tensor, "B S V"] | None = None
    backward_logits: Float[Tensor, "B S V"] | None = None
    mixed: Float[Tensor, "B S D"] | None = None
    classes: Float[Tensor, "B N"] | None = None
    tags: Float[Tensor, "B S N"] | None = None
    answers: Float[Tensor, "B S 2"] | None = None

    @property
    def read(self) -> Float[Tensor, "B S D"]:
        """What a task's head reads: the mix where there is one, else the last layer."""
        return self.hidden if self.mixed is None else self.mixed


class RecurrentModel(nn.Module):
    """The network that a recurrent architecture describes.

    Args:
        architecture: what to build.
        seed: of the first parameters; None leaves them uninitialised, for a checkpoint to fill.
        dtype: of the parameters.
        device: of the parameters; on "meta" none are allocated.
    """

    def __init__(
        self,
        architecture: Recurrent,
        *,
        seed: int | None = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.architecture = architecture
        rate = architecture.dropout.weight
        with torch.device("meta"):
            self.embeddings = _build_embeddings(architecture)
            self.layers = nn.ModuleList(
                nn.ModuleList(
                    build_cell(architecture.cell, d_input, width, rate) for _ in range(architecture.n_directions)
                )
                for d_input, width in zip(architecture.inputs, architecture.widths, strict=True)
            )
            self.heads = nn.ModuleDict({head.name: _build_head(head, architecture) for head in architecture.heads})
        self.to(dtype)
        if torch.device(device).type != "meta":
            self.to_empty(device=device)
            if seed is not None:
                self._initialise(torch.Generator(device).manual_seed(seed))

    def forward(
        self,
        tokens: Int[Tensor, "B S"] | Int[Tensor, "B S C"] | Float[Tensor, "B S E"],
        *,
        mask: Bool[Tensor, "B S"] | None = None,
        state: States | None = None,
        scores: bool = True,
    ) -> RecurrentOutput:
        """One pass over a batch.

        Args:
            tokens: ids of words, ids of their characters or vectors, as the architecture reads them.
            mask: True where a token is real rather than padding, wherever that stands; where not given all are, but
                for words without a character.
            state: where the rows go on, from the output of an earlier pass over as many.
            scores: whether heads score the vocabulary; a loss may ask `product` for what it needs instead.

        Raises:
            InputError: naming what does not fit the architecture.
        """
        self._check(tokens, mask, state)
        if mask is None and isinstance(self.architecture.tokens, Characters):
            mask = tokens.ne(0).any(-1)
        if mask is None or bool(mask.all()):
            return self._judged(self._run(tokens, None, state, scores), None, scores)
        if not bool(mask.any(1).all()):
            empty = f"row {int(mask.any(1).int().argmin())}"
            raise InputError("model", Fault("mask", empty, "has no real token", "leave the row out"))
        # Every direction reads a row's real tokens first; what follows them reaches none of them.
        order = mask.int().argsort(dim=1, descending=True, stable=True)
        output = self._run(_take(tokens, order), _take(mask, order), state, scores)
        return self._judged(_rearranged(output, order.argsort(dim=1), mask), mask, scores)

    def _judged(self, output: RecurrentOutput, mask: Tensor | None, scores: bool) -> RecurrentOutput:
        """With what task heads say."""
        return replace(output, **judge(self.heads, self.architecture, output.read, mask)) if scores else output

    def product(self, head: str, hidden: Float[Tensor, "*any D"]) -> Product:
        """The last product of a head that scores the vocabulary, for a loss that never holds all logits.

        Args:
            head: "lm".
            hidden: one direction's outputs of the last layer.
        """
        asked: Any = self.heads[head]
        product: Product = asked.product(hidden, self._table())
        return product

    def _run(self, tokens: Tensor, mask: Tensor | None, state: States | None, scores: bool) -> RecurrentOutput:
        spec, rates = self.architecture, self.architecture.dropout
        turn = _turning(mask)
        whole = tokens if isinstance(spec.tokens, Vectors) else self.embeddings(tokens)
        own = [whole, turn(whole)][: spec.n_directions]
        apart, skip = isinstance(spec.directions, Apart), spec.directions == Apart(skip=True)
        layers = [torch.cat(own[:1] * len(own), -1) if apart else whole]
        states: list[tuple[State, ...]] = []
        for number, cells in enumerate(self.layers):
            assert isinstance(cells, nn.ModuleList), "built so"
            drop = self._dropping(rates.hidden if number else rates.input)
            read = [drop(x) for x in own] if apart else _both(drop(whole), turn, len(own))
            before = state[number] if state else [None] * len(read)
            given = [cell(x, mask, start) for cell, x, start in zip(cells, read, before, strict=True)]
            own = [x + y if skip and number else y for x, (y, _) in zip(read, given, strict=True)]
            whole = torch.cat([own[0], *map(turn, own[1:])], -1)
            layers.append(whole)
            states.append(tuple(after for _, after in given))
        return self._read(self._dropping(rates.output)(whole), tuple(layers), tuple(states), scores)

    def _read(self, hidden: Tensor, layers: tuple[Tensor, ...], states: States, scores: bool) -> RecurrentOutput:
        """What the heads make of the layers."""
        scored: list[Tensor | None] = []
        if "lm" in self.heads and scores:
            halves = hidden.chunk(self.architecture.n_directions, -1)
            scored = [self.heads["lm"](half, self._table()) for half in halves]
        logits, backward_logits = [*scored, None, None][:2]
        mixed = self.heads["mix"](layers) if "mix" in self.heads else None
        return RecurrentOutput(hidden, layers, states, logits, backward_logits, mixed)

    def _table(self) -> Tensor | None:
        """That of words, where it scores them too."""
        tied = self.architecture.head(TiedScores)
        return self.embeddings.weight if tied and isinstance(self.embeddings, WordVectors) else None

    def _dropping(self, rate: float) -> Callable[[Tensor], Tensor]:
        """Dropout at a rate; one mask for all positions where it is locked (Merity et al. 2017, section 4.2)."""
        if not (rate and self.training):
            return lambda x: x
        if not self.architecture.dropout.locked:
            return partial(functional.dropout, p=rate)
        return lambda x: x * functional.dropout(torch.ones_like(x[:, :1]), rate)

    def _check(self, tokens: Tensor, mask: Tensor | None, state: States | None) -> None:
        spec, (rows, length) = self.architecture.tokens, tokens.shape[:2]
        inner = _inner(spec)
        faults = []
        if tuple(tokens.shape[2:]) != inner or not length:
            shape = ", ".join(map(str, ("rows", "positions", *inner)))
            faults.append(Fault("tokens", tuple(tokens.shape), f"must have the shape ({shape})", f"give {spec}"))
        if mask is not None and mask.shape != (rows, length):
            rule = f"must have the shape ({rows}, {length})"
            faults.append(Fault("mask", tuple(mask.shape), rule, "say of each token whether it is real"))
        if state is not None and (held := state[0][0][0].shape[0]) != rows:
            faults.append(Fault("state", held, f"must have a row for each of {rows} texts", "begin without one"))
        if faults:
            raise InputError("model", faults)
        if not isinstance(spec, Vectors) and tokens.numel():
            check_ids(tokens.flatten(1), spec.n_characters if isinstance(spec, Characters) else spec.vocab_size)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if (draw := getattr(module, "draw", None)) is not None:
                draw(generator)


def _inner(spec: Tokens) -> tuple[int, ...]:
    """The shape of one token."""
    match spec:
        case Words():
            return ()
        case Characters():
            return (spec.max_characters,)
        case Vectors():
            return (spec.d_embedding,)


def _build_embeddings(spec: Recurrent) -> nn.Module:
    match spec.tokens:
        case Words():
            return WordVectors(spec.tokens, spec.dropout.embedding)
        case Characters():
            return CharacterVectors(spec.tokens)
        case Vectors():
            return nn.Identity()


def _build_head(head: RecurrentHead, spec: Recurrent) -> nn.Module:
    match head:
        case ScalarMix():
            return LayerMix(spec.n_layers + 1, head.norm)
        case TiedScores() | Scores():
            return WordScores(head, spec)
        case _:
            return build_task_head(head, spec.outputs[-1], spec.dropout.output)


def _take(x: Tensor, places: Tensor) -> Tensor:
    """Of each row the positions named, in that order."""
    return x[torch.arange(x.shape[0], device=x.device)[:, None], places]


def _turning(mask: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Turns the real tokens of each row round, which come first; padding stays where it is."""
    if mask is None:
        return lambda x: x.flip(1)
    slots = torch.arange(mask.shape[1], device=mask.device)
    places = torch.where(mask, mask.sum(1, keepdim=True) - 1 - slots, slots)
    return partial(_take, places=places)


def _both(x: Tensor, turn: Callable[[Tensor], Tensor], n: int) -> list[Tensor]:
    """One input as each direction reads it."""
    return [x, turn(x)] if n == 2 else [x]


def _rearranged(output: RecurrentOutput, places: Tensor, mask: Tensor) -> RecurrentOutput:
    """An output with its positions where the input had them."""

    def back(x: Tensor) -> Tensor:
        return _take(x, places) * mask[..., None]

    named = {name: getattr(output, name) for name in ("logits", "backward_logits", "mixed")}
    moved = {name: back(value) for name, value in named.items() if value is not None}
    return RecurrentOutput(back(output.hidden), tuple(map(back, output.layers)), output.state, **moved)
