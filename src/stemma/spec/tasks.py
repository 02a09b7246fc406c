"""Heads that a task adds to a pretrained network: classes of a text, tags of its tokens, answers within it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from stemma.errors import Fault

Reads = Literal["pooled", "first", "last", "concat"]
"""Which vector stands for a text: the pooler's, the first token's, the last one's, or the last one's beside the maximum
and the mean of all (Howard and Ruder 2018, section 3.3)."""

Dense = Literal["none", "tanh", "relu", "gelu", "gelu_tanh", "silu"]
"""Activation of a layer before the scores, or that there is no such layer."""


@dataclass(frozen=True)
class ClassifierHead:
    """Scores of classes from one vector of a text (Devlin et al. 2019, section 4.1; Radford et al. 2018, section 3.2).

    Args:
        n_classes: how many scores; one is a number, or how likely a choice is among others.
        reads: which vector.
        dense: activation of a layer before the scores.
        bias: add an offset a class.
    """

    name: ClassVar[str] = "classifier"
    n_classes: int = 2
    reads: Reads = "pooled"
    dense: Dense = "none"
    bias: bool = True

    def weights(self, width: int) -> int:
        """How many weights its matrices have.

        Args:
            width: of the hidden states.
        """
        read = width * (3 if self.reads == "concat" else 1)
        return (read + self.n_classes) * width if self.dense != "none" else read * self.n_classes

    def offsets(self, width: int) -> int:
        """How many offsets it has; see `weights`."""
        return (self.dense != "none") * width + self.bias * self.n_classes


@dataclass(frozen=True)
class TaggerHead:
    """Scores of classes for each token (Devlin et al. 2019, section 5.3).

    Args:
        n_classes: how many.
    """

    name: ClassVar[str] = "tagger"
    n_classes: int = 2

    def weights(self, width: int) -> int:
        """See `ClassifierHead.weights`."""
        return width * self.n_classes

    def offsets(self, width: int) -> int:
        """See `ClassifierHead.weights`."""
        return self.n_classes


@dataclass(frozen=True)
class AnswerHead:
    """Two scores for each token: does an answer begin here, does it end here? (Devlin et al. 2019, section 4.2)."""

    name: ClassVar[str] = "answer"

    def weights(self, width: int) -> int:
        """See `ClassifierHead.weights`."""
        return width * 2

    def offsets(self, width: int) -> int:
        """See `ClassifierHead.weights`."""
        return 2


TaskHead = ClassifierHead | TaggerHead | AnswerHead


def broken_task_heads(heads: Iterable[Any], *, pooler: bool, recurrent: bool = False) -> Iterator[Fault]:
    """The rules that a network's task heads break.

    Args:
        heads: all heads of a network.
        pooler: whether one of them pools.
        recurrent: whether the network is recurrent.
    """
    for head in heads:
        here = f"heads.{getattr(head, 'name', head)}"
        if isinstance(head, ClassifierHead | TaggerHead) and (type(head.n_classes) is not int or head.n_classes < 1):
            yield Fault(f"{here}.n_classes", head.n_classes, "must be a whole number of at least 1", "count the labels")
        if isinstance(head, ClassifierHead):
            if head.reads == "pooled" and not pooler:
                yield Fault(f"{here}.reads", head.reads, "needs a pooled vector", "add Pooler(), or read the first")
            if head.reads == "concat" and not recurrent:
                yield Fault(f"{here}.reads", head.reads, "is for recurrent networks", "read the first or the last")
