"""Virtual tokens: ids just above the vocabulary, for which an adaptation answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stemma.adaptation.changes import Change, changes_of, chosen, plug
from stemma.errors import Fault, InputError
from stemma.nn.embeddings import Embeddings, readable
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Shape

Side = Literal["tokens", "decoder_tokens"]
"""The input in which virtual tokens stand, before each text."""


class Virtual(Change):
    """What stands at an adaptation's virtual tokens, in place of whatever would.

    Args:
        numbers: of the tokens, counted from the end of the vocabulary.
        source: gives what stands there, one row a token.
        side: the input in which the tokens stand.
    """

    def __init__(self, numbers: range, source: nn.Module, side: Side = "tokens") -> None:
        super().__init__()
        self.numbers = numbers
        self.source = source
        self.side = side

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """As of `stemma.nn.embeddings.Exchange`."""
        own = x - self.numbers.start
        inside = (own >= 0) & (own < len(self.numbers))
        rows: Tensor = self.source()
        there = rows[own.clamp(0, len(rows) - 1)].to(y.dtype)
        return torch.where(inside.view(*inside.shape, *[1] * (y.ndim - 2)), there, y)


class Silent(Virtual):
    """Virtual tokens that are keys and values alone; the source, if any, is what those are made of."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Nobody reads their vectors."""
        return y


class Rows(nn.Module):
    """Rows that are learned, or that maps make of such rows.

    Args:
        rows: first values.
        maps: what is made of them.
    """

    def __init__(self, rows: Tensor, *maps: nn.Module) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows)
        self.maps = nn.Sequential(*maps)

    def forward(self) -> Tensor:
        """One row a token."""
        made: Tensor = self.maps(self.rows)
        return made


def beside(module: nn.Module, weight: Tensor) -> nn.Module:
    """A module with a network's weight: where it lies, and in at least single precision (see `changes.fresh`)."""
    return module.to(weight.device, torch.promote_types(weight.dtype, torch.float32))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """While this is entered, torch draws by this seed; outside nothing has been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def add_tokens(model: Any, name: str, virtual: Virtual) -> None:
    """Give virtual tokens to a network.

    Args:
        model: a `Model`, changed in place.
        name: of the adaptation.
        virtual: whose numbers are the next ones; see `next_numbers`.
    """
    embeddings = model.embeddings
    if not embeddings.n_virtual:
        embeddings.prompt.register_forward_pre_hook(_refuse_strangers)
    embeddings.n_virtual = virtual.numbers.stop
    plug(embeddings.prompt, name, virtual)


def next_numbers(model: Any, n: int) -> range:
    """The numbers of the next n virtual tokens of a network; those of a detached adaptation are not given again."""
    first: int = model.embeddings.n_virtual
    return range(first, first + n)


def virtual_ids(model: Any, names: Iterable[str]) -> dict[Side, tuple[int, ...]]:
    """The ids that stand before each text, by the input in which they do; those of the first adaptation come first.

    Args:
        model: a network.
        names: of adaptations; those without virtual tokens have no ids.
    """
    ids: dict[Side, tuple[int, ...]] = {}
    held = held_by(model)
    for virtual in (held[name] for name in names if name in held):
        own = (model.architecture.vocab_size + number for number in virtual.numbers)
        ids[virtual.side] = (*ids.get(virtual.side, ()), *own)
    return ids


def ids_in_force(model: Any) -> dict[Side, tuple[int, ...]]:
    """The ids that stand before each text by the adaptations that are in force here; see `virtual_ids`."""
    held = changes_of(model.embeddings.prompt) if isinstance(model.embeddings, Embeddings) else None
    names = chosen()
    return virtual_ids(model, (held.in_force() if held else ()) if names is None else names)


def virtual_faults(kind: str, n: int, spec: Shape) -> list[Fault]:
    """What speaks against so many virtual tokens.

    Args:
        kind: of the adaptation.
        n: how many.
        spec: of the network.
    """
    if not isinstance(spec, Architecture):
        return [Fault("adaptation", kind, f"is not for a network that is {spec.kind}", "use a transformer")]
    longest = spec.max_tokens
    if type(n) is not int or n < 1:
        return [Fault("n_virtual", n, "must be a whole number of at least 1", "use 20, say")]
    if longest is not None and n >= longest:
        return [Fault("n_virtual", n, f"leaves no room for a text in {longest} learned positions", "use fewer")]
    return []


def held_by(model: Any) -> Mapping[str, Virtual]:
    """The virtual tokens of a network, by the names of their adaptations."""
    embeddings = model.embeddings
    return _of(embeddings.prompt) if isinstance(embeddings, Embeddings) else {}


def _of(exchange: nn.Module) -> Mapping[str, Virtual]:
    changes = changes_of(exchange)
    return {name: one for name, one in changes.items() if isinstance(one, Virtual)} if changes else {}


def _refuse_strangers(exchange: nn.Module, args: tuple[Tensor, ...]) -> None:
    """No id of an adaptation that is not in force is read: nothing answers for it."""
    numbers = args[0]
    if not readable(numbers):
        return
    strange, held = numbers >= 0, changes_of(exchange)
    in_force = held.in_force() if held else ()
    for name, virtual in _of(exchange).items():
        if name in in_force:
            strange &= (numbers < virtual.numbers.start) | (numbers >= virtual.numbers.stop)
    if bool(strange.any()):
        stranger = f"virtual token {int(numbers[strange][0])}"
        rule = "belongs to no adaptation that is in force"
        raise InputError("model", Fault("tokens", stranger, rule, "take the ids that virtual_ids() gives"))
