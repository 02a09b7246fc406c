"""Vectors before a text that are learned while the network stays as it is: prompt tuning and P-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.virtual import Rows, Virtual, add_tokens, beside, next_numbers, seeded, virtual_faults
from stemma.errors import Fault
from stemma.spec.lineage import Shape


@dataclass(frozen=True, kw_only=True)
class PromptTuning(Adaptation):
    """A vector for each of n virtual tokens before a text (Lester et al. 2021, section 2).

    Args:
        n_virtual: how many.
        start: first values: vectors of "words" drawn from the vocabulary, "random" ones from -0.5 to 0.5 (section 3.2),
            or those of a text's ids, again and again while they are too few.
    """

    kind: ClassVar[str] = "prompt_tuning"

    n_virtual: int = 20
    start: Literal["words", "random"] | tuple[int, ...] = "words"

    def faults(self, spec: Shape) -> list[Fault]:
        """See `Adaptation.faults`."""
        if found := virtual_faults(self.kind, self.n_virtual, spec):
            return found
        if self.start in ("words", "random"):
            return []
        alien = [token for token in self.start if not (isinstance(token, int) and 0 <= token < spec.vocab_size)]
        if alien or not self.start:
            return [Fault("start", alien or self.start, "must be ids of the vocabulary", "use the model's tokenizer")]
        return []

    def attach(self, model: Any, name: str, seed: int = 0) -> None:
        """See `Adaptation.attach`."""
        table = model.embeddings.token.weight.detach()
        add_tokens(
            model, name, Virtual(next_numbers(model, self.n_virtual), beside(Rows(self._first(table, seed)), table))
        )

    def _first(self, table: Tensor, seed: int) -> Tensor:
        draws = torch.Generator().manual_seed(seed)
        if self.start == "random":
            return (torch.rand(self.n_virtual, table.shape[1], generator=draws) - 0.5).to(table)
        if self.start == "words":
            return table[torch.randint(len(table), (self.n_virtual,), generator=draws).to(table.device)]
        return table[list(islice(cycle(self.start), self.n_virtual))]


@dataclass(frozen=True, kw_only=True)
class PTuning(Adaptation):
    """Vectors of n virtual tokens that a small network makes of others (Liu et al. 2021, section 3.2).

    Args:
        n_virtual: how many.
        width: of the network's hidden layers, or of each direction of the LSTM.
        encoder: "mlp" for three maps with ReLU between; "lstm" for two layers of an LSTM in both directions before two.
    """

    kind: ClassVar[str] = "p_tuning"

    n_virtual: int = 20
    width: int = 128
    encoder: Literal["mlp", "lstm"] = "mlp"

    def faults(self, spec: Shape) -> list[Fault]:
        """See `Adaptation.faults`."""
        found = virtual_faults(self.kind, self.n_virtual, spec)
        if self.width < 1:
            found.append(Fault("width", self.width, "must be at least 1", "use 128, say"))
        if self.encoder not in _ENCODERS:
            found.append(Fault("encoder", self.encoder, "is not known", f"use one of {', '.join(_ENCODERS)}"))
        return found

    def attach(self, model: Any, name: str, seed: int = 0) -> None:
        """See `Adaptation.attach`."""
        table = model.embeddings.token.weight
        with seeded(seed):
            rows = torch.randn(self.n_virtual, table.shape[1])
            source = Rows(rows, *_ENCODERS[self.encoder](table.shape[1], self.width))
        add_tokens(model, name, Virtual(next_numbers(model, self.n_virtual), beside(source, table)))


class BothWays(nn.LSTM):
    """An LSTM in both directions, of which the outputs are given alone."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """The outputs of both directions, side by side."""
        outputs: Tensor = super().forward(x)[0]
        return outputs


def _mlp(d_embedding: int, width: int) -> list[nn.Module]:
    first, last = nn.Linear(d_embedding, width), nn.Linear(width, d_embedding)
    return [first, nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last]


def _lstm(d_embedding: int, width: int) -> list[nn.Module]:
    both = BothWays(d_embedding, width, num_layers=2, bidirectional=True)
    return [both, nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, d_embedding)]


_ENCODERS = {"mlp": _mlp, "lstm": _lstm}
