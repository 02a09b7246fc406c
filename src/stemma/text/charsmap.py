"""Check SentencePiece's compiled normalisation before the Rust library walks it, for it trusts every number in it."""

from __future__ import annotations

import sys
from array import array

from stemma.errors import Fault

_LEAF = 1 << 31


def charsmap_faults(data: bytes) -> list[Fault]:
    """What is wrong with a compiled normalisation.

    It is the size of a double-array trie (Darts-clone), the trie's 32-bit units, and the replacements, each
    ended by a zero. A unit leads to a block of 256 others by an exclusive or, or it is a leaf: a replacement's place.

    Args:
        data: `precompiled_charsmap`; empty where a model has none.

    >>> charsmap_faults(b"")
    []
    >>> [fault.rule for fault in charsmap_faults(b"abc")]
    ['is cut off']
    """
    if not data:
        return []
    size = int.from_bytes(data[:4], "little")
    texts = len(data) - 4 - size
    rule = None
    if len(data) < 4 or texts < 0:
        rule = "is cut off"
    elif not size or size % 4 or not texts or data[-1]:
        rule = "has no whole trie and no whole replacements"
    elif not _is_sound(array("I", data[4 : 4 + size]), texts):
        rule = "leads out of itself"
    return [Fault("precompiled_charsmap", f"{len(data)} bytes", rule, "copy the file again")] if rule else []


def _is_sound(units: array[int], texts: int) -> bool:
    if sys.byteorder == "big":
        units.byteswap()
    for place, unit in enumerate(units):
        if unit & _LEAF:
            if unit ^ _LEAF >= texts:
                return False
            continue
        block = place ^ (unit >> 10) << ((unit & 0x200) >> 6)
        if block | 0xFF >= len(units) or (unit & 0x100 and not units[block] & _LEAF):
            return False
    return True
