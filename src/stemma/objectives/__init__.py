"""What a network learns by: values that work on every family which has what they need."""

from stemma.objectives.blanks import BlankInfilling
from stemma.objectives.catalogue import OBJECTIVES, objective
from stemma.objectives.causal import CausalLM
from stemma.objectives.cross_entropy import compiled_costs
from stemma.objectives.denoising import Denoising
from stemma.objectives.distillation import Distillation
from stemma.objectives.example import Asked, Batch, Example, Targets, collate
from stemma.objectives.imitation import Imitation
from stemma.objectives.masked import MaskedLM, SpanLM, WholeWordLM
from stemma.objectives.neighbours import Neighbours
from stemma.objectives.objective import AUXILIARY, Objective, Setting, counts
from stemma.objectives.passes import Pass, passes
from stemma.objectives.permutation import PermutationLM
from stemma.objectives.prefix import PrefixLM
from stemma.objectives.replaced import ReplacedTokens
from stemma.objectives.sentences import NextSentence, SentenceOrder
from stemma.objectives.span_corruption import SpanCorruption
from stemma.objectives.translation import Translation
from stemma.objectives.translation_lm import TranslationLM
from stemma.objectives.two_directions import TwoDirections
from stemma.objectives.vocabulary import Vocabulary

__all__ = [
    "AUXILIARY",
    "OBJECTIVES",
    "Asked",
    "Batch",
    "BlankInfilling",
    "CausalLM",
    "Denoising",
    "Distillation",
    "Example",
    "Imitation",
    "MaskedLM",
    "Neighbours",
    "NextSentence",
    "Objective",
    "Pass",
    "PermutationLM",
    "PrefixLM",
    "ReplacedTokens",
    "SentenceOrder",
    "Setting",
    "SpanCorruption",
    "SpanLM",
    "Targets",
    "Translation",
    "TranslationLM",
    "TwoDirections",
    "Vocabulary",
    "WholeWordLM",
    "collate",
    "compiled_costs",
    "counts",
    "objective",
    "passes",
]
