"""The network that a run begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from stemma.errors import Fault, SpecError
from stemma.families import closest, family
from stemma.spec.lineage import Shape
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Words


@dataclass(frozen=True)
class Network:
    """A family's architecture at a size of its own, or at yours.

    Args:
        family: its name in the tree.
        size: a published one; where neither it nor a change is given, the family's usual one.
        changes: fields of the architecture.

    Raises:
        SpecError: for an unknown family or size.
    """

    family: str
    size: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = family(self.family).sizes
        if self.size is not None and self.size not in sizes:
            rule, remedy = f"is no size of {self.family}", f"use {' or '.join(sizes)}"
            raise SpecError("network", Fault("size", self.size, rule, remedy))

    @classmethod
    def of(cls, spec: Shape) -> Network:
        """The same architecture, told by the nearest family and every field."""
        return cls(closest(spec).name, None, {one.name: getattr(spec, one.name) for one in fields(spec)})

    def spec(self, vocab_size: int) -> Shape:
        """The architecture, over a vocabulary of this size where none is told, or one of 0 words.

        Raises:
            SpecError: naming every missing or broken field.
        """
        of, changes = family(self.family), dict(self.changes)
        size = self.size if self.size or changes else next(iter(of.sizes))
        if of.shape is Recurrent:
            if isinstance(usual := of.traits["tokens"], Words):
                changes.setdefault("tokens", replace(usual, vocab_size=0))
            changes = {name: _sized(part, vocab_size) for name, part in changes.items()}
        else:
            changes.setdefault("vocab_size", vocab_size)
        found: Shape = of.build(size, **changes)
        return found


def _sized(part: Any, vocab_size: int) -> Any:
    """A part of a recurrent network, over this vocabulary where it is told to have 0 words."""
    if isinstance(part, tuple):
        return tuple(_sized(one, vocab_size) for one in part)
    return replace(part, vocab_size=vocab_size) if getattr(part, "vocab_size", None) == 0 else part
