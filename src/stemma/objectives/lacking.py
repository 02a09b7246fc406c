"""What an objective needs, in the words of an error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from stemma.errors import Fault
from stemma.spec.architecture import Architecture
from stemma.spec.ends import Head
from stemma.spec.lineage import Shape


class Need(NamedTuple):
    """One condition, and what to do where it is not met.

    Args:
        met: whether it is.
        what: is needed, as "a mask token".
        remedy: what the user can do.
    """

    met: object
    what: str
    remedy: str


def lacking(objective: str, needs: Iterable[Need]) -> list[Fault]:
    """A fault for every need of an objective that is not met.

    >>> str(lacking("mlm", [Need(False, "a mask token", "train a tokenizer with one")])[0])
    "objective='mlm' needs a mask token; train a tokenizer with one"
    """
    return [Fault("objective", objective, f"needs {need.what}", need.remedy) for need in needs if not need.met]


def has(spec: Shape, head: type[Head]) -> bool:
    """Whether a transformer has a head of this kind; what is recurrent has none of them."""
    return isinstance(spec, Architecture) and spec.head(head) is not None
