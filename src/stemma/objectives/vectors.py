"""One vector for each of several texts that are read side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from stemma.errors import Fault
from stemma.nn.pooling import pool
from stemma.objectives.example import Asked, Batch, Example, Targets
from stemma.objectives.lacking import Need, lacking
from stemma.objectives.objective import read_losses
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Shape
from stemma.spec.parts import EncoderDecoder
from stemma.spec.pooling import Pooling

Cost = Callable[[Tensor, Asked], Tensor]
"""The sum of what the vectors of n questions cost, each of k texts: n k D, and what is right."""


def about(example: Example, term: str, right: np.ndarray) -> Example:
    """The example with one question about all of its documents together.

    Args:
        example: of one or several documents, each a text.
        term: of the loss.
        right: what is right, 1 or 1 x any.
    """
    n_texts = int(example.inputs["documents"][-1]) + 1
    return example.change(targets={term: Targets(np.array([[0, n_texts]]), right)})


def vectors_of(hidden: Float[Tensor, "B S D"], batch: Batch, asked: Asked, pooling: Pooling) -> Float[Tensor, "n k D"]:
    """The vector of each text that is asked about, from all tokens of its document.

    Args:
        hidden: last hidden states.
        batch: what was read.
        asked: places are a position in the first text, and how many texts there are.
        pooling: how tokens become one vector.
    """
    documents = _documents(batch)[asked.rows]
    firsts = documents.gather(1, asked.places[:, :1])
    texts = firsts + torch.arange(int(asked.places[0, 1]), device=hidden.device)
    own = documents[:, None] == texts[..., None]
    begins, lengths = own.int().argmax(-1), own.sum(-1)
    steps = torch.arange(int(lengths.max()), device=hidden.device)
    mask = steps < lengths[..., None]
    tokens = hidden[asked.rows[:, None, None], torch.where(mask, begins[..., None] + steps, 0)]
    vectors: Tensor = pool(tokens.flatten(0, 1).float(), mask.flatten(0, 1), pooling)
    return vectors.reshape(*texts.shape, -1)


def _documents(batch: Batch) -> Int[Tensor, "B S"]:
    """The number of each token's document, -1 at padding; rows of one document each have a mask, or no padding."""
    tokens, mask = batch.inputs["tokens"], batch.inputs.get("mask")
    return batch.inputs.get("documents", torch.zeros_like(tokens) if mask is None else mask.long() - 1)


def read_vectors(
    model: Any, batch: Batch, term: str, pooling: Pooling, cost: Cost, chunk: int | None = None
) -> Mapping[str, Tensor]:
    """What the vectors of a batch cost, with what experts add.

    With `chunk` so many rows are read at a time, and once more for the gradient, so that the activations of one chunk
    alone are held while all vectors of the batch are compared (Gao et al. 2021, GradCache, section 3).

    Args:
        model: the network.
        batch: of examples that `about` made.
        term: that is asked.
        pooling: how tokens become one vector.
        cost: of the vectors.
        chunk: rows; None reads all at once.
    """

    def vectors(_: Any, output: Any, part: Batch, asked: Asked) -> Tensor:
        return vectors_of(output.hidden, part, asked, pooling)

    readers = {term: vectors}
    if chunk is None:
        found = [read_losses(model, batch, readers=readers)]
    else:
        found = [
            checkpoint(read_losses, model, part, None, readers, use_reentrant=False)
            for part in _parts(batch, term, chunk)
        ]
    read = {name: [one[name] for one in found] for name in found[0]}
    added = {name: torch.stack(parts).sum() for name, parts in read.items() if name != term}
    return {term: cost(torch.cat(read[term]), batch.asked[term]), **added}


def _parts(batch: Batch, term: str, chunk: int) -> Iterator[Batch]:
    """So many rows at a time, with what is asked about them; rows of which nothing is asked are passed over."""
    asked = batch.asked[term]
    for first in range(0, len(batch.inputs["tokens"]), chunk):
        chosen = (asked.rows >= first) & (asked.rows < first + chunk)
        if chosen.any():
            inputs = {name: rows[first : first + chunk] for name, rows in batch.inputs.items()}
            own = Asked(asked.rows[chosen] - first, asked.places[chosen], asked.ids[chosen])
            yield Batch(inputs, {term: own}, 0)


def in_batch(vectors: Float[Tensor, "n k D"], temperature: float, *, both_ways: bool = False) -> Float[Tensor, ""]:
    """The sum of -log softmax(cos(u_i, .) / temperature) at v_i, among the other texts of all n questions.

    The first text of a question is u_i, the second v_i, further ones belong to nobody (Henderson et al. 2017, section
    4.4, with cosines as in van den Oord et al. 2018's InfoNCE).

    Args:
        vectors: of any length.
        temperature: by which cosines are divided.
        both_ways: also look for u_i from v_i, and take the mean of both.
    """
    firsts, seconds, *others = functional.normalize(vectors, dim=-1).unbind(1)
    right = torch.arange(len(vectors), device=vectors.device)
    # A small temperature makes much of what half precision leaves out.
    with torch.autocast(vectors.device.type, enabled=False):
        scores = firsts.float() @ torch.cat((seconds, *others)).float().T / temperature
    cost = functional.cross_entropy(scores, right, reduction="sum")
    if both_ways:
        back = functional.cross_entropy(scores[:, : len(vectors)].T, right, reduction="sum")
        cost = (cost + back) / 2
    return cost


def lacks_vectors(name: str, spec: Shape, pooling: Pooling, chunk: int | None) -> list[Fault]:
    """What keeps a network from giving vectors of texts side by side, or a chunk from being one.

    Args:
        name: the objective's.
        spec: the network.
        pooling: how tokens become one vector.
        chunk: rows that are read at a time.
    """
    apart = isinstance(spec, Architecture) and not isinstance(spec.stacks, EncoderDecoder)
    return lacking(
        name,
        [
            Need(apart, "a network of one stack, which keeps the texts of a row apart", "use such as BERT or GPT-2"),
            Need(not pooling.projections, "a pooling without dense layers", "leave them out: they would not learn"),
            Need(chunk is None or chunk > 0, f"chunk={chunk} of at least one row", "leave it out to read all at once"),
        ],
    )


def width_of(spec: Shape) -> int:
    """Of the vectors of a network that gives some."""
    assert isinstance(spec, Architecture), "a fault where it is recurrent"
    return spec.d_model
