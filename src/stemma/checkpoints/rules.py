"""The tables of weight rules, run in both directions: their tensors to ours and ours to theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from stemma.errors import CheckpointError, Fault
from stemma.spec.mapping import Ignore, Permute, Rename, Split, Tie, WeightRule, Zero

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Info:
    """What a header says of one tensor.

    Args:
        shape: its sizes.
        floating: whether it holds real numbers, as every learned tensor does.
    """

    shape: Shape
    floating: bool = True


class Tensors(Protocol):
    """Named tensors of a file or folder, each read when it is asked for."""

    @property
    def infos(self) -> Mapping[str, Info]:
        """What is known of each before it is read."""

    def read(self, name: str) -> Tensor:
        """One tensor; it may share memory with the file."""


@dataclass(frozen=True)
class Entry:
    """One of their tensors and what it is made of.

    Args:
        theirs: its name.
        ours: our names, several where they are fused along the rows.
        shapes: our shapes.
        rule: how the one turns into the other.
        heads: for rotary rows, how many heads they belong to.
        groups: how many groups of heads have their rows together in a fused tensor.
        by_head: how many heads have an axis of their own, after the first.
    """

    theirs: str
    ours: tuple[str, ...]
    shapes: tuple[Shape, ...]
    rule: Rename | Split | Permute
    heads: int = 0
    groups: int = 1
    by_head: int = 0

    @property
    def shape(self) -> Shape:
        """The shape of their tensor."""
        first = self.shapes[0]
        fused: Shape = (sum(shape[0] for shape in self.shapes), *first[1:])
        if self._transposed and len(fused) == 2:
            fused = fused[::-1]
        if self.by_head:
            return (fused[0], self.by_head, fused[1] // self.by_head)
        return (1, *fused) if self._row else fused

    def read(self, theirs: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Our tensors out of theirs, as views where that is possible."""
        theirs = theirs.flatten(1) if self.by_head else theirs
        whole = theirs.T if self._transposed and theirs.ndim == 2 else theirs[0] if self._row else theirs
        if self.heads:
            whole = whole.reshape(self.heads, -1, 2, *whole.shape[1:]).transpose(1, 2).reshape(whole.shape)
        whole = whole.reshape(self.groups, -1, *whole.shape[1:])
        parts = torch.split(whole, [shape[0] // self.groups for shape in self.shapes], 1)
        yield from ((name, part.flatten(0, 1)) for name, part in zip(self.ours, parts, strict=True))

    def write(self, ours: Mapping[str, Tensor]) -> Tensor:
        """Their tensor out of ours; the inverse of `read`."""
        parts = [ours[name].reshape(self.groups, -1, *ours[name].shape[1:]) for name in self.ours]
        whole = (parts[0] if len(parts) == 1 else torch.cat(parts, 1)).flatten(0, 1)
        if self.heads:
            whole = whole.reshape(self.heads, 2, -1, *whole.shape[1:]).transpose(1, 2).reshape(whole.shape)
        whole = whole.T if self._transposed and whole.ndim == 2 else whole[None] if self._row else whole
        return (whole.reshape(len(whole), self.by_head, -1) if self.by_head else whole).contiguous()

    @property
    def _transposed(self) -> bool:
        return not isinstance(self.rule, Permute) and self.rule.transposed

    @property
    def _row(self) -> bool:
        return isinstance(self.rule, Rename) and self.rule.row


@dataclass(frozen=True)
class Plan:
    """How every one of our parameters is read and written; made by `make_plan`.

    Args:
        entries: each parameter of ours stands in exactly one.
        extras: rules for what they hold beside these: copies, buffers, zeros.
        prefix: what a leading `@` in their names stands for.
        sizes: the architecture's sizes by name.
    """

    entries: tuple[Entry, ...]
    extras: tuple[Tie | Ignore | Zero, ...]
    prefix: str
    sizes: Mapping[str, int]
    _by_name: Mapping[str, Entry] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {entry.theirs: entry for entry in self.entries})

    def faults(self, stored: Mapping[str, Info]) -> list[Fault]:
        """Everything that keeps a checkpoint with these tensors from being read."""
        sources = self._sources(stored)
        found = [
            Fault(entry.theirs, None, "is missing", f"the model needs it with shape {list(entry.shape)}")
            for entry in self.entries
            if entry.theirs not in sources
        ]
        for name, info in stored.items():
            wanted = self._wanted(name)
            if wanted is None:
                found.append(Fault(name, list(info.shape), "has no place in this model", "remove it, or ignore it"))
            elif isinstance(wanted, tuple) and info.shape != wanted:
                rule = f"must have shape {list(wanted)}"
                found.append(Fault(name, list(info.shape), rule, "correct the configuration, or the file"))
            elif isinstance(wanted, tuple) and not info.floating:
                found.append(Fault(name, "whole numbers", "must hold real numbers", "save it as float32"))
        return found

    def read(self, tensors: Tensors) -> Iterator[tuple[str, Tensor]]:
        """Our names and tensors, one at a time; `faults` must have found none.

        Raises:
            CheckpointError: a copy that differs from its original, or a tensor that should be zero and is not.
        """
        sources = self._sources(tensors.infos)
        for entry in self.entries:
            yield from entry.read(tensors.read(sources[entry.theirs]))
        found = []
        for name in tensors.infos:
            match self._extra(name):
                case Tie() as tie if name != (original := sources[self._target(tie, name)]):
                    if not identical(tensors.read(name), tensors.read(original)):
                        rule = f"must equal {original}, of which it is a copy"
                        remedy = "set tie_word_embeddings to false where it is an output of its own, or ignore it"
                        found.append(Fault(name, "other values", rule, remedy))
                case Zero() if tensors.read(name).count_nonzero():
                    rule = "must be zero: this architecture has no such parameter"
                    found.append(Fault(name, "other values", rule, "give the architecture the parameter"))
        if found:
            raise CheckpointError("weights", found)

    def write(self, ours: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Their names and tensors, one at a time."""
        kind = next(iter(ours.values()))
        for entry in self.entries:
            yield entry.theirs, entry.write(ours)
        for extra in self.extras:
            name = prefixed(extra.theirs, self.prefix)
            if name in self._by_name:
                continue
            if isinstance(extra, Zero):
                yield name, torch.zeros(self._zero_shape(extra), dtype=kind.dtype)
            elif isinstance(extra, Tie) and extra.written and (original := self._target(extra, name)) in self._by_name:
                yield name, self._by_name[original].write(ours)

    def _sources(self, stored: Mapping[str, Info]) -> dict[str, str]:
        """For each of their tensors the name that it is read from: its own, or a tied copy's where that is all."""
        sources = {name: name for name in self._by_name if name in stored}
        for name in stored:
            if isinstance(tie := self._extra(name), Tie):
                target = self._target(tie, name)
                if target in self._by_name:
                    sources.setdefault(target, name)
        return sources

    def _wanted(self, name: str) -> Shape | Ignore | None:
        """The shape that a tensor must have, a rule by which any will do, or None where it has no place."""
        if name in self._by_name:
            return self._by_name[name].shape
        match self._extra(name):
            case Tie() as tie:
                target = self._by_name.get(self._target(tie, name))
                return target.shape if target else None
            case Zero() as zero:
                return self._zero_shape(zero)
            case other:
                return other

    def _extra(self, name: str) -> Tie | Ignore | Zero | None:
        """The rule for a tensor that is no parameter of ours."""
        if name in self._by_name:
            return None
        return next(
            (rule for rule in self.extras if _match(prefixed(rule.theirs, self.prefix), name, whole=True)), None
        )

    def _target(self, tie: Tie, name: str) -> str:
        found = _match(prefixed(tie.theirs, self.prefix), name, whole=True)
        assert found, "a tie is asked for the target of its own names"
        return _fill(prefixed(tie.to, self.prefix), found[0])

    def _zero_shape(self, zero: Zero) -> Shape:
        return tuple(self.sizes[size] if isinstance(size, str) else size for size in zero.shape)


def make_plan(
    ours: Mapping[str, Shape], rules: Iterable[WeightRule], *, sizes: Mapping[str, int], prefix: str = ""
) -> Plan:
    """Find for every parameter the first rule that matches its name.

    Args:
        ours: our parameters and their shapes.
        rules: the family's table.
        sizes: the architecture's sizes by name.
        prefix: what a leading `@` in their names stands for.

    Raises:
        CheckpointError: naming each parameter that no rule covers, and each of their names that two would claim.

    >>> table = (Rename("embeddings", "@", {"token": "wte"}),)
    >>> make_plan({"embeddings.token.weight": (9, 4)}, table, sizes={}, prefix="transformer.").entries[0].theirs
    'transformer.wte.weight'
    """
    rules = tuple(rules)
    mapped = [rule for rule in rules if isinstance(rule, Rename | Split | Permute)]
    entries: dict[str, Entry] = {}
    found: list[Fault] = []
    done: set[str] = set()
    for name in ours:
        if name in done:
            continue
        entry = next((entry for rule in mapped if (entry := _entry(rule, name, ours, sizes, prefix))), None)
        if entry is None or not set(entry.ours) <= set(ours):
            found.append(Fault(name, list(ours[name]), "has no place in their format", "choose another family"))
            continue
        if entry.theirs in entries:
            rule = f"is written where {entries[entry.theirs].ours[0]} is"
            found.append(Fault(name, entry.theirs, rule, "correct the family's rules"))
        entries[entry.theirs] = entry
        done.update(entry.ours)
    if found:
        raise CheckpointError("weights", found)
    extras = tuple(rule for rule in rules if isinstance(rule, Tie | Ignore | Zero))
    return Plan(tuple(entries.values()), extras, prefix, sizes)


def _entry(
    rule: Rename | Split | Permute, name: str, ours: Mapping[str, Shape], sizes: Mapping[str, int], prefix: str
) -> Entry | None:
    """What this rule makes of a parameter, if it is one of the rule's."""
    for child, pattern, theirs in _children(rule):
        if (found := _match(pattern, name)) is None:
            continue
        stars, suffix = found
        target = _fill(prefixed(theirs, prefix), stars) + suffix
        names: tuple[str, ...] = (name,)
        if isinstance(rule, Split):
            names = tuple(_fill(f"{rule.ours}.{part}", stars) + suffix for part in rule.parts)
        heads = sizes[rule.heads[child]] if isinstance(rule, Permute) else 0
        groups = sizes[rule.groups] if isinstance(rule, Split) and rule.groups else 1
        by_head = sizes["n_heads"] if isinstance(rule, Rename) and rule.by_head else 0
        return Entry(target, names, tuple(ours.get(one, (0,)) for one in names), rule, heads, groups, by_head)
    return None


def _children(rule: Rename | Split | Permute) -> Sequence[tuple[str, str, str]]:
    """Child, pattern of our names and pattern of theirs, for each name that a rule speaks of."""
    if isinstance(rule, Split):
        return [(part, f"{rule.ours}.{part}", rule.theirs) for part in rule.parts]
    if not rule.names:
        return [("", rule.ours, rule.theirs)]
    dot = "" if rule.theirs in ("", "@") else "."
    return [(child, f"{rule.ours}.{child}", f"{rule.theirs}{dot}{theirs}") for child, theirs in rule.names.items()]


def prefixed(theirs: str, prefix: str) -> str:
    """One of their names with what a leading `@` stands for."""
    return prefix + theirs[1:] if theirs.startswith("@") else theirs


def _match(pattern: str, name: str, *, whole: bool = False) -> tuple[tuple[str, ...], str] | None:
    """What the stars of a pattern stand for in a name, and what follows the pattern."""
    found = _compiled(pattern).match(name)
    if found is None or (whole and found[found.re.groups]):
        return None
    return found.groups()[:-1], found[found.re.groups]


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", r"([^.]+)") + r"((?:\..+)?)\Z")


def _fill(pattern: str, stars: Sequence[str]) -> str:
    for star in stars:
        pattern = pattern.replace("*", star, 1)
    return pattern


def identical(first: Tensor, second: Tensor) -> bool:
    """Equal bit for bit, so that a NaN equals itself."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return torch.equal(first.contiguous().view(torch.uint8), second.contiguous().view(torch.uint8))
