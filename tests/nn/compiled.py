"""Compile every family's forward pass as one graph and print how far it lies from the plain one.

Run as a program of its own: the checks of shapes, under which the tests import the modules, cannot be compiled.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny import apart, random_model, random_tokens, results, shaped, tiny

from stemma.nn import Model
from stemma.spec import Architecture


def largest_difference(model: Model, backend: str, gradients: bool) -> float:
    """Between the compiled pass and the plain one, over a batch with padding."""
    tokens = random_tokens(2, 9)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    options: dict[str, Any] = {"decoder_tokens": tokens[:, :7]} if model.encoder and model.decoder else {}
    options["mask"] = torch.arange(9) < torch.tensor([[9], [6]])
    with torch.set_grad_enabled(gradients):
        expected, got = results(model(tokens, **options)), results(compiled(tokens, **options))
    return max(apart(got[name].detach(), value.detach()) for name, value in expected.items())


def main(backend: str, last: str) -> None:
    """Print a JSON object: family to the difference, or to the error's text.

    Args:
        backend: of `torch.compile`.
        last: how many families, from the end of the tree; "all" for all of them.
    """
    report: dict[str, float | str] = {}
    families = shaped(Architecture)
    for family in families if last == "all" else families[-int(last) :]:
        torch.compiler.reset()
        model = random_model(tiny(family, n_layers=1))
        try:
            report[family.name] = largest_difference(model, backend, gradients=backend != "eager")
        except torch._dynamo.exc.TorchDynamoException as error:
            report[family.name] = str(error)
    print(json.dumps(report))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
