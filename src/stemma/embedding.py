"""Texts to vectors: batches of like length, whatever their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from stemma.errors import Fault, InputError
from stemma.nn import Model, PackedProducts
from stemma.nn.pooling import pool
from stemma.spec.parts import EncoderDecoder
from stemma.spec.pooling import Pooling
from stemma.text import Tokenizer


def embed(
    model: Model, tokenizer: Tokenizer, texts: Sequence[str], pooling: Pooling, batch_size: int = 32
) -> Float[np.ndarray, "N D"]:
    """One vector a text, in float32 and in the order of the texts.

    Args:
        model: an encoder, or a decoder.
        tokenizer: its tokenizer.
        texts: at least none.
        pooling: how tokens become one vector, and where texts are cut.
        batch_size: how many texts are read at once.

    Raises:
        InputError: texts that are no sequence of strings, a batch of none, a model with two stacks.
    """
    _check(model, texts, batch_size)
    limit = _limit(model, pooling)
    rows = [_cut(tokenizer, row, limit) for row in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]), reverse=True)
    vectors = np.empty((len(rows), model.architecture.d_model), np.float32)
    device, fast = next(model.parameters()).device, PackedProducts()
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        ids, mask = tokenizer.pad_rows([rows[index] for index in chosen])
        seen = torch.tensor(mask, device=device)
        with torch.inference_mode(), fast:
            hidden = model(torch.tensor(ids, device=device), mask=None if seen.all() else seen).hidden
            vectors[chosen] = pool(hidden.float(), seen, pooling).cpu().numpy()
    return vectors


def _limit(model: Model, pooling: Pooling) -> int | None:
    limits = [pooling.max_tokens, model.architecture.max_tokens]
    return min((limit for limit in limits if limit is not None), default=None)


def _cut(tokenizer: Tokenizer, row: list[int], limit: int | None) -> list[int]:
    """The row without what is too much for the model, but with the special tokens at its end."""
    if limit is None or len(row) <= limit:
        return row
    ending = next((n for n, token in enumerate(reversed(row)) if token not in tokenizer.special), 0)
    return row[: limit - ending] + row[len(row) - ending :]


def _check(model: Model, texts: Sequence[str], batch_size: int) -> None:
    faults = []
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        faults.append(Fault("texts", texts, "must be a sequence of strings", "write [text]"))
    if batch_size < 1:
        faults.append(Fault("batch_size", batch_size, "must be at least 1", "the usual size is 32"))
    if isinstance(model.architecture.stacks, EncoderDecoder):
        faults.append(Fault("model", model.architecture.kind, "has two stacks", "use an encoder or a decoder"))
    if faults:
        raise InputError("embed", faults)
