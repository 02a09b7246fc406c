"""What an objective is: what it does to a row, what it asks about it, and what the answer costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from stemma.data import Reading, Row
from stemma.errors import Fault
from stemma.nn import Model, RecurrentModel
from stemma.nn.experts import load_balancing_loss, router_z_loss
from stemma.nn.heads import Product
from stemma.objectives.cross_entropy import summed_cross_entropy
from stemma.objectives.example import Asked, Batch, Example
from stemma.objectives.vocabulary import Vocabulary
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Shape


class Setting(NamedTuple):
    """What an objective prepares rows for.

    Args:
        vocabulary: the ids.
        length: the most tokens of a row.
        spec: the network's architecture.
    """

    vocabulary: Vocabulary
    length: int
    spec: Shape


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a network learns by: a value that works on every family which has what it needs.

    A subclass states how rows are read, arranges a row or corrupts what another arranged, and may add networks that
    learn beside the model. Its loss comes from its targets, by the name of each term (`READERS`).

    Args:
        weight: of this objective's terms in the sum.
        copies: how many epochs draw anew before the first one's draws return (BERT's static masks have 10); None for
            draws that never do.
    """

    name: ClassVar[str]
    reads: ClassVar[Reading] = "whole"
    arranges: ClassVar[bool] = False
    """Whether it only sets texts beside one another, so that an objective which corrupts them can share its pass."""

    weight: float = 1.0
    copies: int | None = None

    def faults(self, setting: Setting) -> list[Fault]:
        """What this network or vocabulary lacks, or which of the objective's values break a rule."""
        return []

    def takes(self, length: int) -> int:
        """How many tokens of the corpus make a row of which the network reads `length`."""
        return length

    def given(self, spec: Shape) -> Mapping[str, Any]:
        """What the network reads beside a batch that is the same for all rows."""
        return {}

    def arrange(self, row: Row, setting: Setting, draws: np.random.Generator) -> Example:
        """The row's pieces as tokens, each piece a document of its own."""
        return laid_out(row, setting.spec)

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """The same row as the network sees it, and what it is asked about it."""
        return example

    def companions(self, setting: Setting, seed: int) -> nn.ModuleDict:
        """Networks that learn, or teach, beside the model."""
        return nn.ModuleDict()

    def share(self, model: nn.Module, companions: nn.ModuleDict) -> None:
        """Let companions use what is the model's; called once both stand where they will stay."""

    def weights(self) -> Mapping[str, float]:
        """The weight of each term within this objective, where it is not 1."""
        return {}

    def losses(self, model: Any, companions: nn.ModuleDict, batch: Batch) -> Mapping[str, Tensor]:
        """The sum over targets of each term's loss, in nats.

        Args:
            model: a `Model` or a `RecurrentModel`.
            companions: what `companions` gave.
            batch: of rows that this objective prepared.
        """
        return read_losses(model, batch, self.given(model.architecture))

    def seen(self, companions: nn.ModuleDict, batch: Batch) -> Batch:
        """What the network itself reads and is asked, where companions draw some of it; the batch, where none do."""
        return batch


def laid_out(row: Row, spec: Shape) -> Example:
    """A row's pieces, one after the other, each a document of its own; with its language where the network reads it."""
    ids = [piece.ids for piece in row.pieces]
    lengths = [len(part) for part in ids]
    inputs = {"tokens": np.concatenate(ids), "documents": np.repeat(np.arange(len(ids)), lengths)}
    if isinstance(spec, Architecture) and spec.embedding.languages:
        inputs["languages"] = np.repeat([piece.languages[0] for piece in row.pieces], lengths)
    return Example(inputs)


def read_losses(
    model: Any, batch: Batch, given: Mapping[str, Any] | None = None, readers: Mapping[str, Reader] | None = None
) -> dict[str, Tensor]:
    """One pass of the model and what each term of the batch costs, with what experts add.

    Args:
        model: the network.
        batch: what it reads, and what it is asked.
        given: what it reads beside that is the same for all rows.
        readers: of each term; the usual ones where not given.
    """
    experts = isinstance(model.architecture, Architecture) and model.architecture.experts is not None
    output = model(**batch.inputs, **(given or {}), scores=False, **({"routings": True} if experts else {}))
    known = READERS if readers is None else readers
    losses = {term: known[term](model, output, batch, asked) for term, asked in batch.asked.items()}
    if experts:
        # A mean over tokens, counted as often as there are targets: so that batches of any size add up alike.
        n_targets = sum(len(asked) for asked in batch.asked.values())
        losses["balance"] = load_balancing_loss(output.routings) * n_targets
        losses["router"] = router_z_loss(output.routings) * n_targets
    return losses


AUXILIARY: Mapping[str, float] = {"balance": 0.01, "router": 0.001}
"""Terms that experts add, and their weights (Fedus et al. 2022, section 2.2; Zoph et al. 2022, section 3.3)."""


def counts(batch: Batch) -> dict[str, int]:
    """How many targets each term has; what experts add has as many as all others together."""
    found = {term: len(asked) for term, asked in batch.asked.items()}
    return {**found, **dict.fromkeys(AUXILIARY, sum(found.values()))}


Reader = Callable[[Any, Any, Batch, Asked], Tensor]
Scored = Callable[[Any, Any, Batch, Asked], Product]


def _scored(model: Model, hidden: Tensor, asked: Asked) -> Product:
    """Of tokens, by whichever head scores the vocabulary, at chosen positions alone."""
    head = "mlm" if "mlm" in model.heads else "lm"
    return model.product(head, hidden[asked.rows, asked.places])


def _of_hidden(model: Any, output: Any, batch: Batch, asked: Asked) -> Product:
    if isinstance(model.architecture, Architecture):
        return _scored(model, output.hidden, asked)
    return _of_direction(0, model, output, asked)


def _of_before(model: Any, output: Any, batch: Batch, asked: Asked) -> Product:
    return _of_direction(1, model, output, asked)


def _of_direction(number: int, model: RecurrentModel, output: Any, asked: Asked) -> Product:
    half = output.hidden.chunk(model.architecture.n_directions, -1)[number]
    return model.product("lm", half[asked.rows, asked.places])


def _of_permuted(model: Any, output: Any, batch: Batch, asked: Asked) -> Product:
    return _scored(model, output.asked, asked)


def _of_spans(model: Any, output: Any, batch: Batch, asked: Asked) -> Product:
    product = model.product("span", output.hidden, batch.inputs["spans"])
    chosen = product.features[asked.rows, asked.places[:, 0], asked.places[:, 1]]
    return Product(chosen, product.weight, product.bias)


PRODUCTS: Mapping[str, Scored] = {
    "next": _of_hidden,
    "before": _of_before,
    "masked": _of_hidden,
    "text": _of_hidden,
    "permuted": _of_permuted,
    "boundaries": _of_spans,
}
"""The last product of each term that asks for tokens, by its name."""


def _cost_of(scored: Scored) -> Reader:
    def read(model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        return summed_cross_entropy(*scored(model, output, batch, asked), asked.ids)

    return read


def _read_sentence(model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
    return functional.cross_entropy(output.next_sentence[asked.rows].float(), asked.ids, reduction="sum")


def _read_replaced(model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
    scores = output.replaced[asked.rows, asked.places].float()
    return functional.binary_cross_entropy_with_logits(scores, asked.ids.to(scores.dtype), reduction="sum")


READERS: Mapping[str, Reader] = {
    **{term: _cost_of(scored) for term, scored in PRODUCTS.items()},
    "sentence": _read_sentence,
    "order": _read_sentence,
    "replaced": _read_replaced,
}
"""What each term costs, by its name."""
