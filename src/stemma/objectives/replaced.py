"""Which tokens a small masked language model has put in place of the right ones (ELECTRA)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.errors import Fault
from stemma.nn import build
from stemma.nn.embeddings import Table
from stemma.nn.heads import Product
from stemma.nn.norms import Normalise
from stemma.objectives import needs
from stemma.objectives.cross_entropy import CHUNK, summed_cross_entropy
from stemma.objectives.example import Asked, Batch, Example, Targets
from stemma.objectives.lacking import Need, has, lacking
from stemma.objectives.masked import MaskedLM
from stemma.objectives.objective import Objective, Setting, read_losses
from stemma.spec.architecture import Architecture
from stemma.spec.ends import MaskedLMHead, ReplacedTokenHead


@dataclass(frozen=True, kw_only=True)
class ReplacedTokens(Objective):
    """Of every token: is it the text's, or drawn by a generator that learns beside? (Clark et al. 2020, section 2).

    The generator is asked for masked tokens; what is drawn from its answers takes their places. Drawing the right token
    replaces nothing. As in the authors' code every real token is judged, those of the frame too.

    Args:
        rate: share of the tokens that are masked.
        generator: width, heads and inner width of the generator as a share of the network's; 1 / 4 to 1 / 2 serve best
            (section 3.2).
        judging: weight of the judgements against the generator's loss of 1, lambda in the paper.
    """

    name: ClassVar[str] = "rtd"

    rate: float = 0.15
    generator: float = 0.25
    judging: float = 50.0

    def faults(self, setting: Setting) -> list[Fault]:
        """A mask, and a head that judges each token."""
        judges = has(setting.spec, ReplacedTokenHead)
        return lacking(
            self.name,
            [
                Need(judges, "a head that judges tokens", "add ReplacedTokenHead() to heads"),
                *needs.roles(setting.vocabulary, "mask"),
                needs.share("rate", self.rate),
                Need(0 < self.generator <= 1, f"generator={self.generator} to lie in (0, 1]", "use such as 0.25"),
            ],
        )

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """What the generator sees; with a number for each masked token, by which the replacement is drawn."""
        masked = MaskedLM(rate=self.rate, shares=(1.0, 0.0, 0.0)).corrupt(example, setting, draws)
        numbers = draws.random(len(masked.targets["masked"].ids))
        n = len(example.tokens)
        judged = {"replaced": Targets(np.arange(n), np.zeros(n, dtype=np.int64))}
        return replace(masked.change(targets=judged), draws={"masked": numbers})

    def companions(self, setting: Setting, seed: int) -> nn.ModuleDict:
        """The generator."""
        assert isinstance(setting.spec, Architecture), "a fault where it is none"
        return nn.ModuleDict({"generator": build(narrowed(setting.spec, self.generator), seed=seed)})

    def share(self, model: nn.Module, companions: nn.ModuleDict) -> None:
        """One set of tables, and of the norm on their sum, for both networks (section 3.2)."""
        own: Any = model
        for name, part in own.embeddings.named_children():
            if isinstance(part, Table | Normalise):
                setattr(companions["generator"].embeddings, name, part)

    def weights(self) -> Mapping[str, float]:
        """Judgements count more often."""
        return {"masked": 1.0, "replaced": self.judging}

    def losses(self, model: Any, companions: nn.ModuleDict, batch: Batch) -> Mapping[str, Tensor]:
        """The generator's loss, and that of judging what was drawn from its answers."""
        product, seen = self._drawn(companions, batch)
        return {"masked": summed_cross_entropy(*product, batch.asked["masked"].ids), **read_losses(model, seen)}

    def seen(self, companions: nn.ModuleDict, batch: Batch) -> Batch:
        """What was drawn from the generator's answers, and which tokens of it are wrong."""
        return self._drawn(companions, batch)[1]

    def _drawn(self, companions: nn.ModuleDict, batch: Batch) -> tuple[Product, Batch]:
        generator: Any = companions["generator"]
        masked, judged, tokens = batch.asked["masked"], batch.asked["replaced"], batch.inputs["tokens"]
        assert masked.draws is not None, "drawn with each row"
        hidden = generator(**batch.inputs, scores=False).hidden
        product: Product = generator.product("mlm", hidden[masked.rows, masked.places])
        drawn = sampled(product, masked.draws)
        where = masked.rows, masked.places
        wrong = torch.zeros_like(tokens).index_put(where, (drawn != masked.ids).to(tokens.dtype))
        asked = Asked(judged.rows, judged.places, wrong[judged.rows, judged.places])
        inputs = {**batch.inputs, "tokens": tokens.index_put(where, drawn)}
        return product, Batch(inputs, {"replaced": asked}, batch.n_tokens)


def narrowed(spec: Architecture, share: float) -> Architecture:
    """A masked language model with a share of a network's width, heads and inner width, and tables of the same width.

    Args:
        spec: the network.
        share: above 0, at most 1.
    """
    d_model, n_heads, d_ff = (max(1, round(share * size)) for size in (spec.d_model, spec.n_heads, spec.d_ff))
    width = 0 if spec.d_inputs == d_model else spec.d_inputs
    return spec.change(
        d_model=d_model,
        n_heads=n_heads,
        d_head=spec.d_head,
        d_ff=d_ff,
        embedding=replace(spec.embedding, width=width),
        heads=(MaskedLMHead(),),
    )


@torch.no_grad()
def sampled(product: Product, numbers: Float[Tensor, " n"], chunk: int = CHUNK) -> Int[Tensor, " n"]:
    """A token for each position, drawn from softmax(x W^T + b): the first whose cumulated probability exceeds a number.

    Args:
        product: what the logits are made of.
        numbers: in [0, 1), one a position.
        chunk: logits that are held at a time.
    """
    drawn, step = [], max(1, chunk // len(product.weight))
    for features, number in zip(torch.split(product.features, step), torch.split(numbers, step), strict=True):
        logits = functional.linear(features, product.weight.to(features.dtype), product.bias)
        cumulated = logits.float().softmax(-1).cumsum(-1)
        # The last sum is not quite 1.
        wanted = number[:, None].to(cumulated.dtype) * cumulated[:, -1:]
        drawn.append(torch.searchsorted(cumulated, wanted, right=True).clamp(max=cumulated.shape[1] - 1)[:, 0])
    return torch.cat(drawn)
