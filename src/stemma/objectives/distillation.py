"""A teacher's probabilities, beside what is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from stemma.checkpoints import locate, read_folder, read_gguf
from stemma.data import Row
from stemma.errors import Fault, InputError
from stemma.nn.heads import Product
from stemma.objectives.causal import CausalLM
from stemma.objectives.cross_entropy import CHUNK
from stemma.objectives.example import Asked, Batch, Example
from stemma.objectives.lacking import Need, lacking
from stemma.objectives.objective import PRODUCTS, READERS, Objective, Reader, Scored, Setting, read_losses
from stemma.spec.lineage import Shape


def _taught(term: str) -> str:
    """The name of the term that asks the same of the teacher."""
    return f"{term}_taught"


@dataclass(frozen=True, kw_only=True)
class Distillation(Objective):
    """(1 - mix) (-log p(x)) + mix T^2 KL(q^(1/T) || p^(1/T)) for a teacher's q (Hinton et al. 2015, section 2).

    Args:
        teacher: a folder, a .gguf file or a name of a model with the same vocabulary.
        of: the objective whose rows, questions and answers are used.
        temperature: T, by which both networks' logits are divided.
        mix: weight of what the teacher says.
    """

    name: ClassVar[str] = "distill"

    teacher: str
    of: Objective = CausalLM()
    temperature: float = 2.0
    mix: float = 0.5

    def __post_init__(self) -> None:
        # An instance reads rows as the objective does that it is made of.
        object.__setattr__(self, "reads", self.of.reads)
        object.__setattr__(self, "copies", self.of.copies)

    def faults(self, setting: Setting) -> list[Fault]:
        """What the objective needs, which has to ask for tokens, of one network."""
        alone = type(self.of).companions is Objective.companions and not self.of.arranges
        return [
            *self.of.faults(setting),
            *lacking(
                self.name,
                [
                    Need(alone, f"an objective of one network alone, not {self.of.name}", "use one such as causal"),
                    Need(self.temperature > 0, f"temperature={self.temperature} above 0", "use such as 2.0"),
                    Need(0 <= self.mix <= 1, f"mix={self.mix} to be a share", "use such as 0.5"),
                ],
            ),
        ]

    def takes(self, length: int) -> int:
        """As of the objective."""
        return self.of.takes(length)

    def given(self, spec: Shape) -> Mapping[str, Any]:
        """As of the objective."""
        return self.of.given(spec)

    def arrange(self, row: Row, setting: Setting, draws: np.random.Generator) -> Example:
        """As of the objective."""
        return self.of.arrange(row, setting, draws)

    def corrupt(self, example: Example, setting: Setting, draws: np.random.Generator) -> Example:
        """As of the objective, whose every question for tokens is asked of the teacher too."""
        asked = self.of.corrupt(example, setting, draws)
        return asked.change(targets={_taught(term): one for term, one in asked.targets.items() if term in PRODUCTS})

    def companions(self, setting: Setting, seed: int) -> nn.ModuleDict:
        """The teacher, which learns nothing."""
        path = locate(self.teacher).path
        teacher = (read_folder(path) if path.is_dir() else read_gguf(path)).model
        held, asked = teacher.architecture.vocab_size, setting.spec.vocab_size
        if held != asked:
            rule = f"has {held} tokens where the network has {asked}"
            raise InputError(self.name, Fault("teacher", self.teacher, rule, "use a teacher with the same vocabulary"))
        return nn.ModuleDict({"teacher": teacher.requires_grad_(False)})

    def weights(self) -> Mapping[str, float]:
        """Of what is right and of what the teacher says."""
        inner = {term: self.of.weights().get(term, 1.0) for term in READERS}
        right = {term: (1 - self.mix) * weight for term, weight in inner.items()}
        return {**right, **{_taught(term): self.mix * inner[term] for term in PRODUCTS}}

    def losses(self, model: Any, companions: nn.ModuleDict, batch: Batch) -> Mapping[str, Tensor]:
        """One pass of each network."""
        teacher: Any = companions["teacher"].eval()
        given = self.given(model.architecture)
        with torch.no_grad():
            output = teacher(**batch.inputs, **given, scores=False)
        soft = {_taught(term): self._reader(scored, teacher, output) for term, scored in PRODUCTS.items()}
        return read_losses(model, batch, given, {**READERS, **soft})

    def _reader(self, scored: Scored, teacher: Any, taught: Any) -> Reader:
        """Reads how far the network is from what the teacher gave."""

        def read(model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
            with torch.no_grad():
                right = scored(teacher, taught, batch, asked)
            return summed_divergence(right, scored(model, output, batch, asked), self.temperature)

        return read


def summed_divergence(teacher: Product, student: Product, temperature: float, chunk: int = CHUNK) -> Float[Tensor, ""]:
    """The sum over positions of T^2 KL(softmax(t / T) || softmax(s / T)), in nats.

    Logits are made a chunk at a time, and once more for the gradient.

    Args:
        teacher: what its logits are made of.
        student: the same, for the same positions.
        temperature: T; by its square the gradients stay as large as those of what is right.
        chunk: logits that are held at a time.
    """
    step = max(1, chunk // len(student.weight))
    costs = [
        checkpoint(_divergence, right, told, teacher, student, temperature, use_reentrant=False)
        for right, told in zip(*(torch.split(x.features, step) for x in (teacher, student)), strict=True)
    ]
    return temperature**2 * torch.stack(costs).sum()


def _divergence(right: Tensor, told: Tensor, teacher: Product, student: Product, temperature: float) -> Tensor:
    """The divergence for some positions' features."""
    q, p = (_logarithms(*pair, temperature) for pair in ((right, teacher), (told, student)))
    return functional.kl_div(p, q, reduction="sum", log_target=True)


def _logarithms(features: Tensor, product: Product, temperature: float) -> Tensor:
    """Log-probabilities at a temperature, in single precision at least."""
    logits = functional.linear(features, product.weight, product.bias)
    return (logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature).log_softmax(-1)
