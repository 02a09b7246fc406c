"""What one text says of another, told from their vectors (SBERT on NLI)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemma.objectives.example import Asked
from stemma.objectives.objective import Setting
from stemma.objectives.tasks.embedding.likeness import LabelledPairs
from stemma.objectives.vectors import width_of


@dataclass(frozen=True, kw_only=True)
class Entailment(LabelledPairs):
    """-log softmax(W [u; v; |u - v|]) at the label (Reimers and Gurevych 2019, section 3, classification objective).

    W learns beside the network and is of no use afterwards: texts are compared by the cosine of their vectors. It has
    an offset, as in the paper's code.
    """

    name: ClassVar[str] = "entailment"
    term: ClassVar[str] = "class"

    def companions(self, setting: Setting, seed: int) -> nn.ModuleDict:
        """W, one for each size of vectors."""
        sizes = self.dimensions or (width_of(setting.spec),)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            judges = {str(size): nn.Linear(3 * size, self.n_classes) for size in sizes}
        return nn.ModuleDict({"judges": nn.ModuleDict(judges)})

    def compared(self, vectors: Tensor, asked: Asked, companions: nn.ModuleDict | None) -> Tensor:
        """Cross-entropy."""
        assert companions is not None, "W is learnt beside the network"
        first, second = vectors.unbind(1)
        judges: nn.ModuleDict = companions.get_submodule("judges")  # type: ignore[assignment]
        scores = judges[str(first.shape[-1])](torch.cat((first, second, (first - second).abs()), -1))
        return functional.cross_entropy(scores.float(), asked.ids, reduction="sum")
