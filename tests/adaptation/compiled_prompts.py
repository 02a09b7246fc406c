"""Compile a pass with soft prompts as one graph and print how far each lies from the plain one; torch traces no LSTM.

Run as a program of its own: the checks of shapes, under which the tests import the modules, cannot be compiled.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny import apart, random_model, random_tokens, tiny

from stemma.adaptation import attach
from stemma.adaptation.prefix import PrefixTuning
from stemma.adaptation.prompts import PromptTuning, PTuning
from stemma.adaptation.virtual import virtual_ids
from stemma.families import LLAMA

if __name__ == "__main__":
    report = {}
    for prompt in (
        PromptTuning(n_virtual=3),
        PTuning(n_virtual=3, width=5),
        PrefixTuning(n_virtual=3),
        PrefixTuning(n_virtual=3, width=7),
    ):
        torch.compiler.reset()
        model = random_model(tiny(LLAMA))
        attach(model, {"one": prompt})
        [ids] = virtual_ids(model, ["one"]).values()
        tokens = torch.cat((torch.tensor([ids] * 2), random_tokens(2, 6)), 1)
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        report[str(prompt)] = apart(compiled(tokens).logits, model(tokens).logits)
    print(json.dumps(report))  # noqa: T201
