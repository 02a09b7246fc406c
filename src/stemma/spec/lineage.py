"""Families as named differences from their parents, and the difference between any two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from types import MappingProxyType
from typing import Any

from stemma.errors import Fault, SpecError
from stemma.spec.architecture import Architecture
from stemma.spec.mapping import Checkpoint
from stemma.spec.recurrent import Recurrent

Size = Mapping[str, Any]
Shape = Architecture | Recurrent


@dataclass(frozen=True, kw_only=True)
class Family:
    """A system of the tree: what is known of it, and how it differs from its parent.

    Args:
        name: the family's name in commands.
        year: of the paper.
        organisation: that published it.
        paper: an identifier such as "arXiv:1706.03762", or a title.
        objective: what it was pretrained on.
        tokenizer: how its text is cut.
        data: the corpus in a few words.
        context: longest input in tokens that it was trained on.
        traits: the architecture's fields that are not sizes.
        sizes: for each published size the fields that it fixes, the usual size first.
        checkpoint: rules for its checkpoints, where there are any.
        shape: the class of its architectures.
        parent: the family it was derived from.
    """

    name: str
    year: int
    organisation: str
    paper: str
    objective: str
    tokenizer: str
    data: str
    context: int | None
    traits: Mapping[str, Any]
    sizes: Mapping[str, Size]
    checkpoint: Checkpoint | None = None
    shape: type[Shape] = Architecture
    parent: Family | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.traits) - set(self.fields)):
            known = ", ".join(sorted({*self.fields, *_FACTS}))
            raise SpecError(
                self.name, [Fault(name, self.traits[name], "is no field", f"use {known}") for name in unknown]
            )
        for name in ("traits", "sizes"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def derive(self, name: str, *, sizes: Mapping[str, Size] | None = None, **changes: Any) -> Family:
        """A child family: everything as in this one but what is given.

        Args:
            name: the child's name.
            sizes: the child's published sizes; the parent's where not given.
            changes: facts (year, organisation, paper, objective, tokenizer, data, context, checkpoint) and fields of
                the architecture.

        Raises:
            SpecError: naming changes that are neither.
        """
        facts = {fact: changes.pop(fact, getattr(self, fact)) for fact in _FACTS}
        traits = {**self.traits, **changes}
        return Family(name=name, parent=self, sizes=sizes or self.sizes, traits=traits, shape=self.shape, **facts)

    def build(self, size: str | None = None, **changes: Any) -> Any:
        """The architecture at a published size, or at sizes of your own.

        Args:
            size: a name in `sizes`; the first one where neither it nor a change is given.
            changes: fields to set; where no size is named, sizes that are not given follow from those that are.

        Raises:
            SpecError: naming an unknown size, and every missing or broken field.
        """
        if size is not None and size not in self.sizes:
            remedy = f"use {' or '.join(self.sizes)}"
            raise SpecError(self.name, Fault("size", size, "is not a size of this family", remedy))
        usual = next(iter(self.sizes.values()))
        vocabulary = {name: value for name, value in usual.items() if name == "vocab_size"}
        base = self.sizes[size] if size else vocabulary if changes else usual
        merged = {**self.traits, **base, **changes}
        if "d_model" in changes or "n_heads" in changes:
            merged = {k: v for k, v in merged.items() if k not in ("n_kv_heads", "d_head", "d_ff") or k in changes}
        known = ", ".join(self.fields)
        faults = [Fault(n, merged[n], "is no field", f"use {known}") for n in merged if n not in self.fields]
        needed = [name for name, needed in self.fields.items() if needed and name not in merged]
        faults += [Fault(n, None, "is missing", f"give {n}, or a size: {' or '.join(self.sizes)}") for n in needed]
        if faults:
            raise SpecError(self.name, faults)
        try:
            return self.shape(**merged)
        except SpecError as error:
            raise SpecError(self.name, error.faults) from None

    @property
    def fields(self) -> Mapping[str, bool]:
        """The fields of its architectures, and whether each has to be given."""
        entries = fields(self.shape)
        return {entry.name: entry.default is MISSING and entry.default_factory is MISSING for entry in entries}

    @property
    def kind(self) -> str:
        """ "encoder-only", "decoder-only" or "encoder-decoder", which the stacks tell, or what the shape is called."""
        return str(self.traits.get("stacks", self.shape).label)

    @property
    def ancestors(self) -> tuple[Family, ...]:
        """The parents up to the root, the nearest first."""
        return (self.parent, *self.parent.ancestors) if self.parent else ()


_FACTS = ("year", "organisation", "paper", "objective", "tokenizer", "data", "context", "checkpoint")


@dataclass(frozen=True)
class Change:
    """One field that differs.

    Args:
        path: the field, such as "norm.eps".
        before: its value in the first.
        after: its value in the second; None on either side means that there is no such field.
    """

    path: str
    before: object
    after: object


def diff(first: Any, second: Any) -> tuple[Change, ...]:
    """What differs between two families or two architectures, and nothing else.

    Args:
        first: a `Family` or an architecture.
        second: one of the same kind; of families the shapes may differ.

    >>> from stemma.spec.parts import LayerNorm, RMSNorm
    >>> diff(LayerNorm(1e-5), LayerNorm(1e-6)), diff(LayerNorm(), LayerNorm())
    ((Change(path='eps', before=1e-05, after=1e-06),), ())
    """
    left, right = _flat(first), _flat(second)
    paths = [*left, *(path for path in right if path not in left)]
    return tuple(Change(p, left.get(p), right.get(p)) for p in paths if left.get(p) != right.get(p))


def _flat(value: Any) -> dict[str, object]:
    if isinstance(value, Family):
        facts = {name: getattr(value, name) for name in _FACTS if name != "checkpoint"}
        sizes = {f"sizes.{name}": dict(size) for name, size in value.sizes.items()}
        return {"kind": value.kind, **facts, **_flat(value.traits), **sizes}
    if isinstance(value, Mapping):
        return {key: part for name, entry in value.items() for key, part in _branch(name, entry).items()}
    return {key: part for name in fields(value) for key, part in _branch(name.name, getattr(value, name.name)).items()}


def _branch(name: str, value: Any) -> dict[str, object]:
    if isinstance(value, tuple) and all(is_dataclass(part) for part in value):
        named = ((getattr(part, "name", place), part) for place, part in enumerate(value))
        return {key: entry for called, part in named for key, entry in _branch(f"{name}.{called}", part).items()}
    if not is_dataclass(value):
        return {name: value}
    return {name: type(value).__name__} | {f"{name}.{key}": part for key, part in _flat(value).items()}
