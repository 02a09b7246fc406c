"""The native step on a real model's own 4-bit weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stemma.checkpoints import locate, read_gguf
from stemma.checkpoints.gguf_codes import read_codes
from stemma.engine import PackedMatrix, make_decoder, make_program
from stemma.errors import SourceError
from stemma.text import from_gguf

from .. import tolerances

pytest.importorskip("stemma_native", reason="the compiled part is not installed")

PROMPT = "In this example we are going to"
WRITTEN = 16


@pytest.mark.real
@pytest.mark.slow
@torch.no_grad()
def test_greedy_ids_are_those_of_torch() -> None:
    """SmolLM2: the file's blocks as they are and the head with 8 bits, beside torch with the same weights."""
    try:
        path = locate("smollm2").path
    except SourceError as error:
        pytest.skip(str(error))
    stored = read_gguf(path)
    model, state = stored.model.eval(), stored.model.state_dict()
    blocks = {name: PackedMatrix(*codes) for name, codes in read_codes(path, stored) if ".blocks." in name}
    assert len(blocks) == 7 * model.architecture.n_layers
    program = make_program(model.architecture, {**state, **blocks})
    for name, tensor in program.tensors.items():
        if isinstance(tensor, PackedMatrix):
            state[name].copy_(torch.from_numpy(tensor.dequantised()))
    decoder = make_decoder(program)
    ids = torch.tensor([from_gguf(stored.metadata).encode(PROMPT)])

    exact = model(ids).logits
    assert exact is not None
    ours = decoder.extend(decoder.cache(1, 64, precise=True), 0, ids[0].numpy())
    assert float((torch.from_numpy(ours) - exact[0]).abs().max()) < tolerances.NATIVE_LOGITS

    cache, written = decoder.cache(1, 64), []
    first = decoder.extend(cache, 0, ids[0].numpy(), last_only=True).argmax(-1)
    [row] = decoder.write(cache, first, WRITTEN - 1, np.array([], np.int64), {})
    own, tokens = model.new_cache(1, 64), ids
    for _ in range(WRITTEN):
        logits = model.decode(tokens, cache=own, last_only=True).logits
        assert logits is not None
        tokens = logits[:, -1].argmax(-1, keepdim=True)
        written.append(int(tokens))
    assert [*first.tolist(), *row] == written
