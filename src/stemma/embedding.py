"""Texts to vectors: batches of equal length, whatever the order of the texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float

from stemma.errors import Fault, InputError
from stemma.nn import Model, PackedProducts
from stemma.nn.integers import with_integers
from stemma.nn.pooling import Projections, pool
from stemma.spec.parts import EncoderDecoder
from stemma.spec.pooling import Pooling
from stemma.text import Tokenizer

Precision = Literal["own", "int8"]
"""The type in which a model was loaded, or maps of 8-bit integers among half precision."""

BATCH_TOKENS = 2048
# So many tokens fill the processor's products: a batch that has them takes no text that would be padded.
_ENOUGH = 512
# Texts that show how large activations are, and the tokens of each.
_N_SAMPLES, _SAMPLED = 32, 128

Stamp = list[tuple[int, int]]


def embed(
    model: Model,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    pooling: Pooling,
    projections: Projections = (),
    *,
    prompt: str | None = None,
    dimensions: int | None = None,
    precision: Precision = "own",
    batch_tokens: int = BATCH_TOKENS,
) -> Float[np.ndarray, "N width"]:
    """One vector a text, in float32 and in the order of the texts.

    Args:
        model: an encoder, or a decoder.
        tokenizer: its tokenizer.
        texts: at least none.
        pooling: how tokens become one vector, and where texts are cut.
        projections: the tensors of the pooling's dense layers.
        prompt: name of the pooling's prompt that precedes each text; its default one where None, none where "".
        dimensions: how many first numbers of a vector are kept (Kusupati et al. 2022, Matryoshka, section 3).
        precision: of the products.
        batch_tokens: the most tokens that are read at once, padding counted; a longer text is read alone.

    Raises:
        InputError: texts that are no sequence of strings or hold no token, an option out of its range, an unknown
            prompt, a model with two stacks.
    """
    width = pooling.width(model.architecture.d_hidden)
    _check(model, texts, pooling, projections, prompt, dimensions, precision, batch_tokens)
    before = pooling.prompt(prompt) or ""
    rows = tokenizer.encode_batch([before + text for text in texts])
    skipped = _pooled_from(tokenizer, before, pooling)
    limit = _limit(model, pooling)
    rows = [_cut(tokenizer, row, limit) for row in rows]
    if short := [place for place, row in enumerate(rows) if len(row) <= skipped]:
        raise InputError("embed", Fault("texts", short, "hold no token to pool", "leave these places out"))
    vectors = np.empty((len(rows), dimensions or width), np.float32)
    network = _integers(model, tokenizer) if precision == "int8" else model
    device, fast = next(model.parameters()).device, PackedProducts()
    held = [{name: tensor.float() for name, tensor in layer.items()} for layer in projections]
    for chosen in batches([len(row) for row in rows], batch_tokens):
        ids, mask = tokenizer.pad_rows([rows[place] for place in chosen])
        seen = torch.tensor(mask, device=device)
        with torch.inference_mode(), fast:
            tokens = torch.tensor(ids, device=device)
            hidden = network(tokens, mask=None if seen.all() else seen, scores=False).hidden.float()
            vectors[chosen] = _first(pool(hidden, seen, pooling, held, skipped), dimensions, pooling).cpu().numpy()
    return vectors


def batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Places of texts that are read together: of one length but in the small batches, where few are left of each.

    Args:
        lengths: of the texts, in tokens.
        most: tokens of a batch, padding counted; a longer text is alone.

    >>> list(batches([3, 900, 3, 900, 4], 2000))
    [[1, 3], [4, 0, 2]]
    """
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        longest = lengths[batch[0]] if batch else 0
        full = (len(batch) + 1) * longest > most
        if batch and (full or (lengths[place] < longest and len(batch) * longest >= _ENOUGH)):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _first(vectors: torch.Tensor, dimensions: int | None, pooling: Pooling) -> torch.Tensor:
    if dimensions is None:
        return vectors
    cut = vectors[:, :dimensions]
    return torch.nn.functional.normalize(cut, dim=-1) if pooling.normalise else cut


def _pooled_from(tokenizer: Tokenizer, prompt: str, pooling: Pooling) -> int:
    """How many first tokens are a prompt's that is not pooled, what stands before it counted."""
    if pooling.include_prompt or not prompt:
        return 0
    ids = tokenizer.encode(prompt)
    return len(ids) - (ids[-1] in tokenizer.special)


def _limit(model: Model, pooling: Pooling) -> int | None:
    limits = [pooling.max_tokens, model.architecture.max_tokens]
    return min((limit for limit in limits if limit is not None), default=None)


def _cut(tokenizer: Tokenizer, row: list[int], limit: int | None) -> list[int]:
    """The row without what is too much for the model, but with the special tokens at its end."""
    if limit is None or len(row) <= limit:
        return row
    ending = next((n for n, token in enumerate(reversed(row)) if token not in tokenizer.special), 0)
    return row[: limit - ending] + row[len(row) - ending :]


_COPIES: WeakKeyDictionary[Model, tuple[Stamp, Model]] = WeakKeyDictionary()


def _integers(model: Model, tokenizer: Tokenizer) -> Model:
    """The model's copy of integers, made again once a parameter has changed."""
    stamp = [(part.data_ptr(), part._version) for part in model.parameters()]
    known = _COPIES.get(model)
    if known is None or known[0] != stamp:
        known = _COPIES[model] = stamp, with_integers(model, _sample(model, tokenizer))
    return known[1]


def _sample(model: Model, tokenizer: Tokenizer) -> list[torch.Tensor]:
    """Some text that every machine has, Python's own help, in rows that begin and end as texts do."""
    from pydoc_data.topics import topics

    length = min(_SAMPLED, model.architecture.max_tokens or _SAMPLED)
    rows = (_cut(tokenizer, row, length) for row in tokenizer.encode_batch([topics[name] for name in sorted(topics)]))
    return [torch.tensor([row]) for row in rows if len(row) == length][:_N_SAMPLES]


def _check(
    model: Model,
    texts: Sequence[str],
    pooling: Pooling,
    projections: Projections,
    prompt: str | None,
    dimensions: int | None,
    precision: str,
    batch_tokens: int,
) -> None:
    faults, width = [], pooling.width(model.architecture.d_hidden)
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        faults.append(Fault("texts", texts, "must be a sequence of strings", "write [text]"))
    if len(projections) != len(pooling.projections):
        rule = f"must be as many as the pooling's, {len(pooling.projections)}"
        faults.append(Fault("projections", len(projections), rule, "give the tensors of each dense layer"))
    if prompt != "" and pooling.prompt(prompt) is None:
        known = ", ".join(one.name for one in pooling.prompts) or "none"
        faults.append(Fault("prompt", prompt, "is no prompt of this model", f"use one of: {known}"))
    if dimensions is not None and not 1 <= dimensions <= width:
        faults.append(Fault("dimensions", dimensions, f"must be from 1 to {width}", "leave it out to keep all"))
    if precision not in get_args(Precision):
        faults.append(Fault("precision", precision, "is unknown", f"use {' or '.join(get_args(Precision))}"))
    elif precision == "int8" and (next(model.parameters()).device.type != "cpu" or not torch.backends.mkldnn.enabled):
        faults.append(Fault("precision", precision, "needs a processor with oneDNN", "use the model's own"))
    if batch_tokens < 1:
        faults.append(Fault("batch_tokens", batch_tokens, "must be at least 1", f"the usual size is {BATCH_TOKENS}"))
    if isinstance(model.architecture.stacks, EncoderDecoder):
        faults.append(Fault("model", model.architecture.kind, "has two stacks", "use an encoder or a decoder"))
    if faults:
        raise InputError("embed", faults)
