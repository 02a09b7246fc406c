"""The fast path: packed weights, and the native step that runs any decoder on them."""

from stemma.engine.native import hand_over, make_decoder, refusals
from stemma.engine.packed import PackedMatrix, pack
from stemma.engine.program import Program, State, faults_of, make_program

__all__ = [
    "PackedMatrix",
    "Program",
    "State",
    "faults_of",
    "hand_over",
    "make_decoder",
    "make_program",
    "pack",
    "refusals",
]
