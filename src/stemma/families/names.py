"""What the files of several families call the same thing."""

from collections.abc import Mapping

from stemma.spec.mapping import ConfigRule, Key, Rename, Tie, WeightRule

ACTIVATIONS: Mapping[str, str] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""Hugging Face's names of activations; the first that means the same is written."""

GGUF_SIZES: tuple[ConfigRule, ...] = (
    Key("embedding_length", "d_model"),
    Key("block_count", "n_layers"),
    Key("attention.head_count", "n_heads"),
    Key("feed_forward_length", "d_ff"),
)
"""Sizes in GGUF metadata, below the name of the architecture."""

GGUF_FEEDFORWARD: Mapping[str, str] = {"gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
"""The maps of a feed-forward network in GGUF."""

GGUF_DECODER: tuple[WeightRule, ...] = (
    Rename("decoder.blocks.*.feedforward", "blk.*", GGUF_FEEDFORWARD),
    Rename("decoder.blocks.*", "blk.*", {"attention_norm": "attn_norm", "feedforward_norm": "ffn_norm"}),
    Rename("decoder.norm", "output_norm"),
    Rename("heads.lm", "output"),
    Tie("output.weight", "token_embd.weight"),
)
"""A pre-norm decoder in GGUF, but for its embeddings and attention."""
