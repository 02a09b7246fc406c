"""How a spec runs: torch modules that know no family's name and no string."""

from stemma.nn.build import build
from stemma.nn.cache import Cache
from stemma.nn.depth import deepen
from stemma.nn.linears import PackedProducts
from stemma.nn.masks import Mask
from stemma.nn.model import Model
from stemma.nn.outputs import Inputs, Memory, Output
from stemma.nn.recurrent import RecurrentModel, RecurrentOutput
from stemma.nn.recurrent_parts import LayerMix

__all__ = [
    "Cache",
    "Inputs",
    "LayerMix",
    "Mask",
    "Memory",
    "Model",
    "Output",
    "PackedProducts",
    "RecurrentModel",
    "RecurrentOutput",
    "build",
    "deepen",
]
