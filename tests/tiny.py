"""A small network of each family, its sizes pairwise distinct so that no two can be mistaken for each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from stemma.families import catalogue
from stemma.nn import Model, Output
from stemma.spec import Architecture, Decoder, Encoder, EncoderDecoder, Family
from stemma.spec.parts import Learned, RelativeBuckets

VOCAB = 37
LONGEST = 19  # rows of a table of learned positions


def each(*kinds: type) -> pytest.MarkDecorator:
    """Run a test for every family of the tree with these stacks."""
    families = [family for family in catalogue() if isinstance(family.traits["stacks"], kinds)]
    assert families, f"the tree has no family with {kinds}"
    return pytest.mark.parametrize("family", families, ids=lambda family: family.name)


each_family = each(Encoder, Decoder, EncoderDecoder)
each_decoder = each(Decoder, EncoderDecoder)


def tiny(family: Family, **changes: Any) -> Architecture:
    """The family at sizes of a toy, with heads that are shared and whose widths do not add up; and with `changes`."""
    traits = family.traits
    sizes: dict[str, Any] = dict(n_layers=3, d_model=20, n_heads=4, n_kv_heads=2, d_head=6, d_ff=28, vocab_size=VOCAB)
    if isinstance(traits["position"], Learned):
        sizes["position"] = Learned(LONGEST)
    if isinstance(traits["position"], RelativeBuckets):
        sizes["position"] = RelativeBuckets(n_buckets=8, max_distance=12)
    if isinstance(traits["stacks"], EncoderDecoder):
        sizes["stacks"] = EncoderDecoder(n_decoder_layers=2)
    if traits["embedding"].segments:
        sizes["embedding"] = replace(traits["embedding"], segments=7)
    return family.build(**sizes | changes)


def random_model(architecture: Architecture, seed: int = 0, dtype: torch.dtype = torch.float32) -> Model:
    """A model whose every parameter, gains and offsets too, is random: one left out would show."""
    model = Model(architecture, seed=None, dtype=dtype).eval()
    scramble(model, seed)
    return model


@torch.no_grad()
def scramble(model: torch.nn.Module, seed: int = 0) -> None:
    """Random values for every parameter, of a size at which activations stay of order one."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        gain = parameter.ndim == 1 and name.endswith("weight")
        scale = 0.3 if parameter.ndim == 1 else 0.2
        parameter.copy_(draw * scale + (1.0 if gain else 0.0))


def random_tokens(rows: int, length: int, seed: int = 0, vocab: int = VOCAB) -> torch.Tensor:
    """Ids, each row its own."""
    return torch.randint(vocab, (rows, length), generator=torch.Generator().manual_seed(seed))


def run(model: Model, tokens: torch.Tensor, **options: Any) -> Output:
    """A pass; an encoder-decoder reads the last seven of the same ids in its decoder, backwards."""
    if isinstance(model.architecture.stacks, EncoderDecoder):
        options.setdefault("decoder_tokens", tokens.flip(1)[:, :7])
    with torch.no_grad():
        return model(tokens, **options)


def results(output: Output) -> dict[str, torch.Tensor]:
    """The named results that a pass gave."""
    named = {name: getattr(output, name) for name in ("hidden", "logits", "pooled", "next_sentence")}
    return {name: value for name, value in named.items() if value is not None}


def apart(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest absolute difference; that of two not-a-numbers is one too."""
    assert first.shape == second.shape, (first.shape, second.shape)
    difference = (first.double() - second.double()).abs()
    return float(difference.nan_to_num(nan=float("inf")).max()) if difference.numel() else 0.0
