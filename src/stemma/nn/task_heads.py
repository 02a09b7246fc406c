"""What a task asks of the last hidden states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.activations import ACTIVATION_FUNCTIONS
from stemma.nn.linears import Linear
from stemma.spec.tasks import AnswerHead, ClassifierHead, Dense, Reads, TaggerHead, TaskHead

_ACTIVATIONS: Mapping[str, Any] = dict(ACTIVATION_FUNCTIONS) | {"tanh": torch.tanh, "none": None}


class Classes(nn.Module):
    """Scores of classes from vectors: of texts, or of tokens.

    Args:
        read: width of the vectors.
        width: of the dense layer.
        n_classes: how many scores.
        dense: activation of the dense layer, if there is one.
        bias: add an offset a class.
        dropout: rate before either map.
    """

    def __init__(
        self, read: int, width: int, n_classes: int, dense: Dense = "none", bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dense = None if dense == "none" else Linear(read, width)
        self.activation = _ACTIVATIONS[dense]
        self.score = Linear(read if self.dense is None else width, n_classes, bias=bias)
        self.dropout = dropout

    def forward(self, x: Float[Tensor, "*any D"]) -> Float[Tensor, "*any N"]:
        """The scores."""
        if self.dense is not None:
            x = self.activation(self.dense(self._drop(x)))
        return self.score(self._drop(x))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """First values as BERT's: small weights and no offsets."""
        for parameter in self.parameters():
            if parameter.ndim == 1:
                parameter.zero_()
            else:
                parameter.normal_(0.0, 0.02, generator=generator)

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x


def build_task_head(head: TaskHead, width: int, dropout: float) -> Classes:
    """The module of a task's head.

    Args:
        head: what it is.
        width: of the hidden states.
        dropout: rate before its maps.
    """
    match head:
        case ClassifierHead(n_classes=n_classes, reads=reads, dense=dense, bias=bias):
            return Classes(width * (3 if reads == "concat" else 1), width, n_classes, dense, bias, dropout)
        case TaggerHead(n_classes=n_classes):
            return Classes(width, width, n_classes, dropout=dropout)
        case AnswerHead():
            return Classes(width, width, 2)


def ends(hidden: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The positions of each row's first and last real token, B each."""
    rows, length = hidden.shape[:2]
    if mask is None:
        first = torch.zeros(rows, dtype=torch.long, device=hidden.device)
        return first, first + (length - 1)
    whole = mask.int()
    return whole.argmax(-1), length - 1 - whole.flip(-1).argmax(-1)


def text_vectors(
    hidden: Float[Tensor, "B S D"], mask: Bool[Tensor, "B S"] | None, reads: Reads
) -> Float[Tensor, "B read"]:
    """The vector that stands for each row's text, before any pooler.

    Args:
        hidden: last hidden states.
        mask: True where a token is real; all are where not given.
        reads: which vector.
    """
    first, last = ends(hidden, mask)
    rows = torch.arange(len(hidden), device=hidden.device)
    if reads != "concat":
        return hidden[rows, last if reads == "last" else first]
    real = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device) if mask is None else mask
    greatest = hidden.masked_fill(~real[..., None], float("-inf")).amax(1)
    mean = (hidden * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    return torch.cat((hidden[rows, last], greatest, mean), -1)


def classify(heads: nn.ModuleDict, reads: Reads, vectors: Float[Tensor, "*any read"]) -> Float[Tensor, "*any N"]:
    """Scores of texts from the vectors that stand for them, through the pooler where it is read."""
    if reads == "pooled":
        vectors = torch.tanh(heads["pooler"](vectors))
    scores: Tensor = heads["classifier"](vectors)
    return scores


def judge(
    heads: nn.ModuleDict, spec: Any, hidden: Float[Tensor, "B S D"], mask: Bool[Tensor, "B S"] | None
) -> Mapping[str, Any]:
    """What task heads say of rows of one text each, by the names of `Output`.

    Args:
        heads: all of the network's.
        spec: its architecture.
        hidden: last hidden states.
        mask: True where a token is real.
    """
    said: dict[str, Tensor] = {}
    if classifier := spec.head(ClassifierHead):
        said["classes"] = classify(heads, classifier.reads, text_vectors(hidden, mask, classifier.reads))
    if spec.head(TaggerHead):
        said["tags"] = heads["tagger"](hidden)
    if spec.head(AnswerHead):
        said["answers"] = heads["answer"](hidden)
    return said
