"""A small network of each family, its sizes pairwise distinct so that no two can be mistaken for each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from stemma.families import catalogue
from stemma.nn import Model, Output, build
from stemma.spec import (
    Alternating,
    Architecture,
    BlockPositions,
    Decoder,
    Encoder,
    EncoderDecoder,
    Family,
    Full,
    Learned,
    Permutation,
    RelativeBuckets,
    Rotary,
    SlidingWindow,
    TaskModules,
)
from stemma.spec.mapping import Checkpoint, Key
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, ProjectedLSTM, Vectors, Words

VOCAB = 37
LONGEST = 19  # rows of a table of learned positions


def each(*kinds: type) -> pytest.MarkDecorator:
    """Run a test for every network of the tree with these stacks."""
    return _each(networks(*kinds))


def networks(*kinds: type) -> list[Family]:
    """A family for each network with these stacks: one that differs in data and sizes alone is the same network."""
    found = {repr(sorted(family.traits.items())): family for family in reversed(shaped(Architecture))}
    return [family for family in reversed(found.values()) if isinstance(family.traits["stacks"], kinds)]


def shaped(shape: type) -> list[Family]:
    """The families of the tree whose architectures are of this class."""
    return [family for family in catalogue() if family.shape is shape]


def _each(families: list[Family]) -> pytest.MarkDecorator:
    assert families, "the tree has no such family"
    return pytest.mark.parametrize("family", marked(families))


def marked(families: list[Family]) -> list[Any]:
    """The families as parameters of a test: those without a part that is not seen elsewhere run in the long tests."""
    return [pytest.param(family, id=family.name, marks=slowly(family)) for family in families]


def slowly(family: Family) -> list[pytest.MarkDecorator]:
    """The mark of a family that the short tests can do without."""
    return [] if family.shape is not Architecture or family.name in _COVER else [pytest.mark.slow]


def _parts(family: Family) -> set[tuple[str, str]]:
    """Each field of a family's architecture with the alternative that it has."""
    kinds = {
        (name, value if isinstance(value, bool) else type(value).__name__) for name, value in family.traits.items()
    }
    return {(name, str(kind)) for name, kind in kinds} | {("head", head.name) for head in family.traits["heads"]}


def _cover() -> set[str]:
    """A few families that together have every alternative of every part, the richest first."""
    families = shaped(Architecture)
    missing, chosen = set().union(*map(_parts, families)), set()
    while missing:
        richest = max(families, key=lambda family: len(_parts(family) & missing))
        chosen.add(richest.name)
        missing -= _parts(richest)
    return chosen


_COVER = _cover()


each_family = each(Encoder, Decoder, EncoderDecoder, Permutation)
each_decoder = each(Decoder, EncoderDecoder)
each_recurrent = _each(shaped(Recurrent))


def small_parts(family: Family, vocab_size: int) -> dict[str, Any]:
    """Parts that have sizes of their own, and the vocabulary with an id for patches where there are images."""
    traits, sizes = family.traits, {}
    if traits["experts"] is not None:
        sizes["experts"] = replace(traits["experts"], n_experts=5, n_active=2)
    if traits["modules"] is not None:
        sizes["modules"] = TaskModules(n_layers=2, d_model=18, n_heads=3, d_ff=22)
    sizes["vocab_size"] = vocab_size
    if traits["vision"] is not None:
        sizes["vocab_size"] = vocab_size + 1
        small = dict(image_size=12, patch_size=4, n_layers=3, d_model=18, n_heads=3, d_ff=22, token=vocab_size)
        sizes["vision"] = replace(traits["vision"], **small)
    return sizes


def untold(checkpoint: Checkpoint) -> dict[str, int]:
    """Sizes that a format's entries do not tell, as values that are derived."""
    told = {path for rule in checkpoint.config if isinstance(rule, Key) for path in rule.paths}
    return {name: 0 for name in ("d_head", "n_kv_heads", "d_ff") if name not in told}


def formats() -> list[Family]:
    """A family for each kind of checkpoint; what differs in data alone is left out."""
    kin = {(id(family.checkpoint), repr(sorted(family.traits.items()))): family for family in reversed(catalogue())}
    return [family for family in catalogue() if family.checkpoint and family in kin.values()]


def tiny(family: Family, vocab: int = VOCAB, **changes: Any) -> Architecture:
    """The family at sizes of a toy, with heads that are shared and whose widths do not add up; and with `changes`."""
    traits = family.traits
    sizes: dict[str, Any] = dict(n_layers=3, d_model=20, n_heads=4, n_kv_heads=2, d_head=6, d_ff=28)
    match traits["position"]:
        case Learned(offset=offset):
            sizes["position"] = Learned(LONGEST + offset, offset)
        case Rotary(fraction=fraction):
            # Pairs are turned, of a head's width or of what part of it is turned.
            sizes |= dict(d_model=24, d_head=6 if fraction == 1 else 12)
        case RelativeBuckets():
            sizes["position"] = RelativeBuckets(n_buckets=8, max_distance=12)
        case BlockPositions():
            sizes["position"] = BlockPositions(LONGEST, 17)
    match traits["attention"]:
        case SlidingWindow():
            sizes["attention"] = SlidingWindow(5)
        case Alternating():
            sizes["attention"] = Alternating((Full(), SlidingWindow(5)))
    if isinstance(traits["stacks"], EncoderDecoder):
        sizes["stacks"] = EncoderDecoder(n_decoder_layers=2)
    sizes |= small_parts(family, vocab)
    # A part that only some of the published sizes have is tried too.
    embeddings = [size["embedding"] for size in family.sizes.values() if "embedding" in size]
    embedding = (embeddings or [traits["embedding"]])[0]
    few = {"segments": 7, "languages": 5, "tasks": 3, "width": 14, "early_width": 14}
    sizes["embedding"] = replace(embedding, **{name: rows for name, rows in few.items() if getattr(embedding, name)})
    return family.build(**sizes | changes)


def tiny_recurrent(family: Family, **changes: Any) -> Recurrent:
    """The recurrent family at sizes of a toy, with its own parts; and with `changes`."""
    usual = family.build()
    tokens: dict[type, Any] = {
        Vectors: Vectors(10),
        Words: Words(VOCAB, 10),
        Characters: Characters(10, ((1, 3), (2, 5), (3, 4)), n_highway=2, d_character=6, max_characters=9),
    }
    cell = replace(usual.cell, d_projection=10) if isinstance(usual.cell, ProjectedLSTM) else usual.cell
    widths = (*(14, 18, 16)[: usual.n_layers - 1], 10)
    return family.build(**dict(tokens=tokens[type(usual.tokens)], widths=widths, cell=cell) | changes)


def random_model(architecture: Any, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """A model whose every parameter, gains and offsets too, is random: one left out would show."""
    model = build(architecture, seed=None, dtype=dtype).eval()
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


PER_TOKEN = ("hidden", "logits", "replaced", "tags", "answers")
RESULTS = ("hidden", "logits", "pooled", "next_sentence", "replaced", "classes", "tags", "answers")


def results(output: Output) -> dict[str, torch.Tensor]:
    """The named results that a pass gave."""
    named = {name: getattr(output, name) for name in RESULTS}
    return {name: value for name, value in named.items() if value is not None}


def apart(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest absolute difference; that of two not-a-numbers is one too."""
    assert first.shape == second.shape, (first.shape, second.shape)
    difference = (first.detach().double() - second.detach().double()).abs()
    return float(difference.nan_to_num(nan=float("inf")).max()) if difference.numel() else 0.0
