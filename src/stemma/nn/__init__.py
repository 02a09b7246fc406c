"""How a spec runs: torch modules that know no family's name and no string."""

from stemma.nn.cache import Cache
from stemma.nn.linears import PackedProducts
from stemma.nn.masks import Mask
from stemma.nn.model import Memory, Model, Output

__all__ = ["Cache", "Mask", "Memory", "Model", "Output", "PackedProducts"]
