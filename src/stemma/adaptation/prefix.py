"""Keys and values before a text that are learned while the network stays as it is: prefix tuning."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.changes import plug, using
from stemma.adaptation.virtual import Rows, Silent, Virtual, add_tokens, beside, next_numbers, seeded, virtual_faults
from stemma.errors import Fault
from stemma.nn.attention import Attention
from stemma.spec.lineage import Shape
from stemma.spec.parts import EncoderDecoder


@dataclass(frozen=True, kw_only=True)
class PrefixTuning(Adaptation):
    """Keys and values of n virtual tokens in every block (Li and Liang 2021, section 4).

    They begin as those of drawn words (section 7.4). Where there are two stacks they are the decoder's, and the virtual
    tokens stand before what it has written.

    Args:
        n_virtual: how many.
        width: of the hidden layer of a network that makes all keys and values of n vectors (section 4.3), drawn at
            first; None to learn keys and values themselves.
    """

    kind: ClassVar[str] = "prefix_tuning"

    n_virtual: int = 20
    width: int | None = None

    def faults(self, spec: Shape) -> list[Fault]:
        """See `Adaptation.faults`."""
        found = virtual_faults(self.kind, self.n_virtual, spec)
        if self.width is not None and self.width < 1:
            found.append(Fault("width", self.width, "must be at least 1", "use 512, say, or None for no network"))
        return found

    def attach(self, model: Any, name: str, seed: int = 0) -> None:
        """See `Adaptation.attach`."""
        numbers, table = next_numbers(model, self.n_virtual), model.embeddings.token.weight
        with seeded(seed):
            shared, sources = self._drawn(model) if self.width is None else self._made(model, self.width)
        pair = isinstance(model.architecture.stacks, EncoderDecoder)
        add_tokens(model, name, Silent(numbers, beside(shared, table), "decoder_tokens" if pair else "tokens"))
        first = model.architecture.vocab_size
        model.embeddings.silent += (range(first + numbers.start, first + numbers.stop),)
        for attention, source in zip(prefixed(model), sources, strict=True):
            plug(attention.prefix, name, Virtual(numbers, beside(source, table)))

    def _drawn(self, model: Any) -> tuple[nn.Module, list[nn.Module]]:
        """What the network itself computes of words."""
        return nn.Identity(), [Rows(rows) for rows in _met(model, self.n_virtual)]

    def _made(self, model: Any, width: int) -> tuple[nn.Module, list[nn.Module]]:
        """One hidden layer, and a last map for each block."""
        d_model = model.architecture.d_model
        shared = Rows(torch.randn(self.n_virtual, d_model), nn.Linear(d_model, width), nn.Tanh())
        return shared, [Mapped(shared, width, attention.key.out_features) for attention in prefixed(model)]


class Mapped(nn.Module):
    """Keys and values of one block, by its own map of rows that all blocks share.

    Args:
        shared: gives the rows.
        width: of the rows.
        d_keys: of a block's keys, all heads together.
    """

    def __init__(self, shared: nn.Module, width: int, d_keys: int) -> None:
        super().__init__()
        # Not a module of this one: it is counted and saved where it stands once, with the token vectors.
        self._shared = (shared,)
        self.map = nn.Linear(width, 2 * d_keys)

    def forward(self) -> Tensor:
        """n 2 (G K): keys and values of each virtual token."""
        made: Tensor = self.map(self._shared[0]())
        return made.view(len(made), 2, -1)


def prefixed(model: Any) -> list[Attention]:
    """The attentions that read a prefix: those of the stack that writes, in order, and of task modules on it."""
    stacks = [model.encoder if model.decoder is None else model.decoder]
    if model.task_modules is not None:
        stacks += [model.task_modules.understanding.stack, model.task_modules.generation.stack]
    return [block.attention for stack in stacks for block in stack.blocks]


@torch.no_grad()
def _met(model: Any, n: int) -> list[Tensor]:
    """Keys and values, n 2 (G K), that each of these attentions computes of n drawn words."""
    spec, attentions, device = model.architecture, prefixed(model), model.embeddings.token.weight.device
    if device.type == "meta":
        return [torch.empty(n, 2, attention.key.out_features, device=device) for attention in attentions]
    words = torch.randint(spec.vocab_size, (1, n)).to(device)
    if spec.vision is not None:
        words = words.masked_fill(words == spec.vision.token, 0)
    met: dict[nn.Module, Tensor] = {}

    def keep(linear: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
        met[linear] = y[0]

    with ExitStack() as stack:
        stack.enter_context(using())
        for linear in (part for attention in attentions for part in (attention.key, attention.value)):
            stack.callback(linear.register_forward_hook(keep).remove)
        decoded = {"decoder_tokens": words} if isinstance(spec.stacks, EncoderDecoder) else {}
        for task in ({"understanding": True}, {}) if spec.modules is not None else ({},):
            model(words, scores=False, **decoded, **task)
    return [torch.stack((met[attention.key], met[attention.value]), 1) for attention in attentions]
