"""A text in another language (the 2017 Transformer, CoVe)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from stemma.data import Reading, Row
from stemma.errors import Fault
from stemma.nn.heads import Product
from stemma.objectives import needs
from stemma.objectives.attentive_decoder import AttentiveDecoder
from stemma.objectives.cross_entropy import summed_cross_entropy
from stemma.objectives.example import Batch, Example
from stemma.objectives.lacking import Need, lacking
from stemma.objectives.objective import Objective, Setting
from stemma.objectives.pairs import framed
from stemma.objectives.two_stacks import answered
from stemma.spec.parts import EncoderDecoder
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, Vectors


@dataclass(frozen=True, kw_only=True)
class Translation(Objective):
    """-sum_i log p(y_i | x, y_<i) of a text and its translation (Vaswani et al. 2017; McCann et al. 2017, section 3).

    A recurrent network is the encoder, and learns beside a decoder of its own (`AttentiveDecoder`). Where it reads
    vectors, a table of them learns too: give it GloVe's, and freeze it, to do as McCann et al. did.
    """

    name: ClassVar[str] = "translation"
    reads: ClassVar[Reading] = "pairs"

    def faults(self, setting: Setting) -> list[Fault]:
        """Two stacks or a recurrent network, and what a decoder begins and ends with."""
        spec = setting.spec
        if isinstance(spec, Recurrent):
            network = Need(not isinstance(spec.tokens, Characters), "words, not characters", "read Words or Vectors")
        else:
            network = needs.stacks(spec, EncoderDecoder)
        return lacking(self.name, [network, needs.start(setting.vocabulary), needs.end(setting.vocabulary)])

    def arrange(self, row: Row, setting: Setting, draws: np.random.Generator) -> Example:
        """The source for the encoder, the target for the decoder, each in its frame."""
        frame, (piece,) = setting.vocabulary.frame, row.pieces
        source, target = (framed(part[: setting.length - len(frame)], frame) for part in piece.parts)
        return answered(source, target, setting.vocabulary)

    def companions(self, setting: Setting, seed: int) -> nn.ModuleDict:
        """Beside a recurrent network a decoder, and the vectors that it reads."""
        spec = setting.spec
        if not isinstance(spec, Recurrent):
            return nn.ModuleDict()
        size, width, read = setting.vocabulary.size, spec.outputs[-1], spec.tokens.d_embedding
        decoder = AttentiveDecoder(size, read, spec.n_directions * width, width, seed)
        found = nn.ModuleDict({"decoder": decoder})
        if isinstance(spec.tokens, Vectors):
            first = torch.randn(size, read, generator=torch.Generator().manual_seed(seed))
            found["vectors"] = nn.Embedding(size, read, _weight=first)
        return found

    def losses(self, model: Any, companions: nn.ModuleDict, batch: Batch) -> Mapping[str, Tensor]:
        """As of any objective; or one pass of the recurrent encoder and one of the decoder beside it."""
        if "decoder" not in companions:
            return super().losses(model, companions, batch)
        decoder: Any = companions["decoder"]
        asked, mask = batch.asked["text"], batch.inputs.get("mask")
        tokens = batch.inputs["tokens"]
        read = companions["vectors"](tokens) if "vectors" in companions else tokens
        memory = model(read, mask=mask, scores=False).hidden
        hidden = decoder(batch.inputs["decoder_tokens"], memory, mask)
        product: Product = decoder.product(hidden[asked.rows, asked.places])
        return {"text": summed_cross_entropy(*product, asked.ids)}
