"""Compile a network with adaptations and print how far it lies from the plain one, by what is in force.

Run as a program of its own: the checks of shapes, under which the tests import the modules, cannot be compiled.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny import apart, random_model, random_tokens, scramble, tiny

from stemma.adaptation import Adapters, LoRA, attach, using
from stemma.families import LLAMA


def main() -> None:
    """Print a JSON object: what is in force to the difference."""
    model, tokens = random_model(tiny(LLAMA)), random_tokens(2, 9)
    attach(model, {"one": LoRA(rank=2, targets=("*",)), "two": Adapters(width=3)})
    scramble(model)

    def scores(ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model(ids).logits
        return logits

    found: dict[str, float] = {}
    with torch.no_grad():
        whole: Callable[[torch.Tensor], torch.Tensor] = torch.compile(scores, fullgraph=True, backend="eager")
        found["all"] = apart(whole(tokens), scores(tokens))
        compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(scores, backend="eager")
        compiled(tokens)
        for chosen in ((), ("one",), ("two",)):
            with using(*chosen):
                found[" ".join(chosen)] = apart(compiled(tokens), scores(tokens))
        found["all again"] = apart(compiled(tokens), scores(tokens))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
