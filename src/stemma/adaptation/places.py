"""Where things are in a network: its linear maps by role, its sub-layers, and what stands above what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

from torch import nn

from stemma.nn import build
from stemma.nn.experts import Mixture
from stemma.nn.feedforward import FeedForward
from stemma.spec.lineage import Shape

ADDED = ".changes."
"""What stands in the path of every parameter that an adaptation added, before the adaptation's name."""

# Of stacks that run one after the other, the last first.
_STACKS = ("task_modules", "decoder", "encoder", "layers")
_BLOCK = re.compile(r"(?:(task_modules)\.\w+\.stack\.blocks|(decoder|encoder)\.blocks|(layers))\.(\d+)\.")
# What belongs to the ends of a stack: with its last block, and with its first one.
_LAST = re.compile(r"(?:(task_modules)\.\w+\.(?:stack\.norm|up)|(decoder|encoder)\.(?:norm|narrowing))\.")
_FIRST = re.compile(r"(task_modules)\.\w+\.down\.")


def body(model: nn.Module) -> dict[str, nn.Parameter]:
    """The network's own parameters, without what adaptations added."""
    return {path: parameter for path, parameter in model.named_parameters() if ADDED not in path}


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """The network's linear maps, by their paths."""
    modules = model.named_modules()
    return {path: module for path, module in modules if isinstance(module, nn.Linear) and ADDED not in path}


def maps(model: nn.Module) -> dict[str, nn.Linear]:
    """Those inside blocks."""
    return {path: linear for path, linear in linears(model).items() if ".blocks." in path}


def roles(model: nn.Module, wanted: tuple[str, ...]) -> dict[str, nn.Linear]:
    """The linear maps that play these roles, by their paths: "query" finds every block's query map.

    Args:
        model: the network.
        wanted: ends of paths: "query", "key", "value", "output", "up", "gate", "down", "router", ..., and with more of
            the path "cross_attention.query" or "blocks.0.*.up"; "*" for all. A map outside the blocks is found by its
            whole path alone.
    """
    inside = maps(model)
    return {
        path: linear
        for path, linear in linears(model).items()
        if path in wanted or (path in inside and any(ends(path, end) for end in wanted))
    }


def ends(path: str, end: str) -> bool:
    """Whether a path ends so.

    >>> [ends("blocks.0.cross_attention.query", end) for end in ("query", "attention.query", "0.*.query")]
    [True, False, True]
    """
    return fnmatchcase(f".{path}", f"*.{end}")


def names_of_roles(model: nn.Module) -> list[str]:
    """The roles that there are, in the order of their first maps."""
    return list(dict.fromkeys(path.rpartition(".")[2] for path in maps(model)))


def sublayers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """What ends each sub-layer of each block: the output maps of attentions and the feed-forward networks."""
    for path, module in model.named_modules():
        parent, _, child = path.rpartition(".")
        if ADDED in path:
            continue
        if child == "output" and parent.endswith("attention"):
            yield "attention", module
        elif child == "feedforward" and isinstance(module, FeedForward | Mixture):
            yield "feedforward", module


def levels(paths: Iterable[str]) -> Mapping[str, int]:
    """How deep each parameter of a network lies, as the names of all of them tell.

    0 is what stands above the blocks, its heads; then come the blocks, the last one first and a decoder's before its
    encoder's, the norm of a stack with its last block; the highest is what lies below all blocks, or in all of them.
    """
    found = {path: _block(path) for path in paths}
    order = sorted({block for block in found.values() if block}, key=lambda block: (block[0], -block[1]))
    level = {block: number for number, block in enumerate(order, 1)}
    edges = {rank: [block for block in order if block[0] == rank] for rank in range(len(_STACKS))}

    def depth(path: str) -> int:
        if path.startswith("heads."):
            return 0
        if block := found[path]:
            return level[block]
        for pattern, end in ((_LAST, 0), (_FIRST, -1)):
            if (edge := pattern.match(path)) and (blocks := edges[_rank(edge)]):
                return level[blocks[end]]
        return len(order) + 1

    return {path: depth(path) for path in found}


@lru_cache(maxsize=16)
def skeleton(spec: Shape) -> nn.Module:
    """The network of an architecture without its numbers, to look at and never to change."""
    return build(spec, seed=None, device="meta")


def _block(path: str) -> tuple[int, int] | None:
    """The stack and the layer that a parameter lies in."""
    found = _BLOCK.match(path)
    return (_rank(found), int(found[found.re.groups])) if found else None


def _rank(found: re.Match[str]) -> int:
    return next(_STACKS.index(group) for group in found.groups() if group)
