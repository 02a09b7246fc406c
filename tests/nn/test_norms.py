"""The shortcut of RMSNorm in half precision against torch's own."""

from __future__ import annotations

import torch
from torch.nn import functional

from stemma.nn.norms import Normalise
from stemma.spec import RMSNorm


@torch.no_grad()
def test_half_precision_gives_the_same_numbers() -> None:
    norm = Normalise(RMSNorm(eps=1e-5), 70)
    torch.nn.init.normal_(norm.get_parameter("weight"))
    norm = norm.to(torch.bfloat16)
    x = torch.randn(2, 33, 70, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    assert torch.equal(norm(x), functional.rms_norm(x, (70,), norm.weight, 1e-5))
    with torch.enable_grad():
        assert norm(x).requires_grad
