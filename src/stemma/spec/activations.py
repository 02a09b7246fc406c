"""What training keeps of a sequence for the way back."""

from __future__ import annotations

from collections.abc import Mapping

from stemma.spec.architecture import Architecture
from stemma.spec.count import n_cross_layers
from stemma.spec.ends import LanguageModelHead, MaskedLMHead
from stemma.spec.parts import EncoderDecoder, Gated, Parallel


def activation_bytes(architecture: Architecture, length: int, size: int = 2) -> Mapping[str, int]:
    """Bytes of one sequence's activations, by what is kept of them.

    With 16-bit numbers and dropout, a block of width h and a heads keeps s * h * (34 + 5 a s / h) bytes of s tokens
    (Korthikanti et al. 2022, equation 1). Here each term is counted from the architecture's own widths: the inputs of
    norms and linear maps, queries, keys, values, softmax, what the activation needs, and one byte for each number that
    dropout may drop. Where scores are computed anew, as FlashAttention does, the second term goes; where whole blocks
    are, their inputs remain, 2 s h (table 2). To each come masks of the embeddings, the inputs of the last norm and of
    the head, and float32 logits (section 4.3). Images and task modules do not count.

    Args:
        architecture: what is trained.
        length: tokens of the sequence; with two stacks of the source and of the target each.
        size: bytes of a number.

    >>> activation_bytes(Architecture(n_layers=1, d_model=8, n_heads=2, vocab_size=9), 4)
    {'all': 1360, 'all but scores': 1296, 'block inputs': 336}
    """
    width, drop = architecture.d_model, architecture.dropout
    n_cross, n_stacks = n_cross_layers(architecture), 1 + isinstance(architecture.stacks, EncoderDecoder)
    n_blocks = architecture.n_encoder_layers + architecture.n_decoder_layers

    queries, keys = architecture.n_heads * architecture.d_head, architecture.n_kv_heads * architecture.d_head
    mask = bool(drop.residual) * width
    attention = size * (2 * width + 2 * queries + 2 * keys) + mask
    # One norm serves both halves of a block; its input and output are counted with the attention.
    outer = mask + (0 if architecture.placement == Parallel(separate=False) else 2 * size * width)
    inner = architecture.d_ff * size * (4 if isinstance(architecture.feedforward, Gated) else 2)
    inner += architecture.d_ff * bool(drop.feedforward) * (size + 1)
    n_active = 1 if architecture.experts is None else architecture.experts.n_active
    networks = sum(n_active if architecture.has_experts(layer) else 1 for layer in range(n_blocks))
    blocks = (n_blocks + n_cross) * attention + n_blocks * outer + networks * inner

    score = architecture.n_heads * (size + bool(drop.attention) * (size + 1))
    seen = [min(length, architecture.window(layer) or length) for layer in range(n_blocks)]
    scores = score * (sum(seen) + n_cross * length)

    logits = (
        4 * architecture.vocab_size * any(isinstance(h, LanguageModelHead | MaskedLMHead) for h in architecture.heads)
    )
    ends = n_stacks * (mask + size * width) + size * width + logits
    return {
        "all": length * (ends + blocks + scores),
        "all but scores": length * (ends + blocks),
        "block inputs": length * (ends + n_blocks * size * width),
    }
