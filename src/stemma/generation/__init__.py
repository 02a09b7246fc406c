"""Decoding strategies, the one search loop, and generation from text to text."""

from stemma.generation.hypothesis import Hypothesis, Processor, Watch
from stemma.generation.sampling import warp
from stemma.generation.search import search
from stemma.generation.stepper import ModelStepper, Stepper, check_prompts
from stemma.generation.stops import StopFilter
from stemma.generation.strategies import Beam, DiverseBeam, Greedy, Sample, StochasticBeam, Strategy
from stemma.generation.text import (
    BeamPath,
    Completion,
    NextToken,
    Score,
    ScoredToken,
    beam_paths,
    generate,
    next_tokens,
    score,
)

__all__ = [
    "Beam",
    "BeamPath",
    "Completion",
    "DiverseBeam",
    "Greedy",
    "Hypothesis",
    "ModelStepper",
    "NextToken",
    "Processor",
    "Sample",
    "Score",
    "ScoredToken",
    "Stepper",
    "StochasticBeam",
    "StopFilter",
    "Strategy",
    "Watch",
    "beam_paths",
    "check_prompts",
    "generate",
    "next_tokens",
    "score",
    "search",
    "warp",
]
