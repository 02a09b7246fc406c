"""The family tree of language models as running code."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stemma import families, generation, nn, spec, text
    from stemma.adaptation import (
        Adapters,
        BitFit,
        Features,
        Frozen,
        Full,
        GradualUnfreezing,
        LoRA,
        PrefixTuning,
        PromptTuning,
        PTuning,
        Quantised,
        TopLayers,
    )
    from stemma.data import Labelled
    from stemma.generation import Beam, DiverseBeam, Greedy, Sample, StochasticBeam
    from stemma.loading import load
    from stemma.nn import Model, deepen
    from stemma.objectives import (
        BlankInfilling,
        CausalLM,
        Denoising,
        Distillation,
        Imitation,
        MaskedLM,
        NextSentence,
        PermutationLM,
        PrefixLM,
        ReplacedTokens,
        SentenceOrder,
        SpanCorruption,
        SpanLM,
        Translation,
        TranslationLM,
        TwoDirections,
        WholeWordLM,
    )
    from stemma.objectives.tasks import (
        Choice,
        Classification,
        Cloze,
        Extraction,
        Regression,
        Tagging,
        TextToLabel,
        TextToText,
    )
    from stemma.pretrained import Pretrained
    from stemma.spec import (
        Architecture,
        Decoder,
        Encoder,
        EncoderDecoder,
        Gated,
        LayerNorm,
        Learned,
        Plain,
        RMSNorm,
        Rotary,
        Sinusoidal,
        SlidingWindow,
    )
    from stemma.text import Tokenizer
    from stemma.training import Run
    from stemma.tuning import Adapt

# Where each public name lives; it is imported when it is first used, so that `import stemma` costs nothing.
_HOMES = {
    "stemma": ("families", "generation", "nn", "spec", "text"),
    "stemma.adaptation": (
        "Adapters",
        "BitFit",
        "Features",
        "Frozen",
        "Full",
        "GradualUnfreezing",
        "LoRA",
        "PTuning",
        "PrefixTuning",
        "PromptTuning",
        "Quantised",
        "TopLayers",
    ),
    "stemma.data": ("Labelled",),
    "stemma.generation": ("Beam", "DiverseBeam", "Greedy", "Sample", "StochasticBeam"),
    "stemma.loading": ("load",),
    "stemma.nn": ("Model", "deepen"),
    "stemma.objectives": (
        "BlankInfilling",
        "CausalLM",
        "Denoising",
        "Distillation",
        "Imitation",
        "MaskedLM",
        "NextSentence",
        "PermutationLM",
        "PrefixLM",
        "ReplacedTokens",
        "SentenceOrder",
        "SpanCorruption",
        "SpanLM",
        "Translation",
        "TranslationLM",
        "TwoDirections",
        "WholeWordLM",
    ),
    "stemma.objectives.tasks": (
        "Choice",
        "Classification",
        "Cloze",
        "Extraction",
        "Regression",
        "Tagging",
        "TextToLabel",
        "TextToText",
    ),
    "stemma.pretrained": ("Pretrained",),
    "stemma.spec": (
        "Architecture",
        "Decoder",
        "Encoder",
        "EncoderDecoder",
        "Gated",
        "LayerNorm",
        "Learned",
        "Plain",
        "RMSNorm",
        "Rotary",
        "Sinusoidal",
        "SlidingWindow",
    ),
    "stemma.text": ("Tokenizer",),
    "stemma.training": ("Run",),
    "stemma.tuning": ("Adapt",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "Adapt",
    "Adapters",
    "Architecture",
    "Beam",
    "BitFit",
    "BlankInfilling",
    "CausalLM",
    "Choice",
    "Classification",
    "Cloze",
    "Decoder",
    "Denoising",
    "Distillation",
    "DiverseBeam",
    "Encoder",
    "EncoderDecoder",
    "Extraction",
    "Features",
    "Frozen",
    "Full",
    "Gated",
    "GradualUnfreezing",
    "Greedy",
    "Imitation",
    "Labelled",
    "LayerNorm",
    "Learned",
    "LoRA",
    "MaskedLM",
    "Model",
    "NextSentence",
    "PTuning",
    "PermutationLM",
    "Plain",
    "PrefixLM",
    "PrefixTuning",
    "Pretrained",
    "PromptTuning",
    "Quantised",
    "RMSNorm",
    "Regression",
    "ReplacedTokens",
    "Rotary",
    "Run",
    "Sample",
    "SentenceOrder",
    "Sinusoidal",
    "SlidingWindow",
    "SpanCorruption",
    "SpanLM",
    "StochasticBeam",
    "Tagging",
    "TextToLabel",
    "TextToText",
    "Tokenizer",
    "TopLayers",
    "Translation",
    "TranslationLM",
    "TwoDirections",
    "WholeWordLM",
    "__version__",
    "deepen",
    "families",
    "generation",
    "load",
    "nn",
    "spec",
    "text",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'stemma' has no attribute {name!r}")
    home = _HOME_OF[name]
    found: object = import_module(f"stemma.{name}") if home == "stemma" else getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
