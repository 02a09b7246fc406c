"""What the files of several families call the same thing."""

from collections.abc import Mapping

from stemma.spec.mapping import ConfigRule, Constant, Fact, Ignore, Key, Rename, Split, Tie, WeightRule

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

BERT_CONFIG: tuple[ConfigRule, ...] = (
    Key("vocab_size", "vocab_size"),
    Key("hidden_size", "d_model"),
    Key("num_hidden_layers", "n_layers"),
    Key("num_attention_heads", "n_heads"),
    Key("intermediate_size", "d_ff"),
    Key("max_position_embeddings", "position.max_positions"),
    Key("type_vocab_size", "embedding.segments", 2),
    Key("layer_norm_eps", "norm.eps", 1e-12),
    Key("hidden_dropout_prob", "dropout.residual", 0.1),
    Key("attention_probs_dropout_prob", "dropout.attention", 0.1),
    Key("initializer_range", "initialisation.std", 0.02),
    Key("tie_word_embeddings", "heads.mlm.tied", True),
    Constant("position_embedding_type", "absolute"),
    Constant("is_decoder", False),
    Constant("add_cross_attention", False),
    Fact("gradient_checkpointing"),
)
"""Entries that BERT's configuration and those of its kin have in common."""

BERT_EMBEDDINGS: Mapping[str, str] = {
    "token": "word_embeddings",
    "position": "position_embeddings",
    "segment": "token_type_embeddings",
    "task": "task_type_embeddings",
    "norm": "LayerNorm",
}
"""The tables and the norm under a BERT's "embeddings"."""

BERT_BODY: tuple[WeightRule, ...] = (
    Rename("embeddings.widening", "@embeddings_project"),
    Rename("embeddings", "@embeddings", BERT_EMBEDDINGS),
    Rename(
        "encoder.blocks.*.attention",
        "@encoder.layer.*.attention",
        {"query": "self.query", "key": "self.key", "value": "self.value", "output": "output.dense"},
    ),
    Rename("encoder.blocks.*.feedforward", "@encoder.layer.*", {"up": "intermediate.dense", "down": "output.dense"}),
    Rename(
        "encoder.blocks.*",
        "@encoder.layer.*",
        {"attention_norm": "attention.output.LayerNorm", "feedforward_norm": "output.LayerNorm"},
    ),
    Rename("heads.pooler", "@pooler.dense"),
    Ignore("@embeddings.position_ids"),
)
"""The tensors of a BERT without its heads."""

LLAMA_CONFIG: tuple[ConfigRule, ...] = (
    Key("vocab_size", "vocab_size"),
    Key("hidden_size", "d_model"),
    Key("intermediate_size", "d_ff"),
    Key("num_hidden_layers", "n_layers"),
    Key("num_attention_heads", "n_heads"),
    Key("num_key_value_heads", "n_kv_heads", None),
    Key("hidden_act", "feedforward.activation", "silu", ACTIVATIONS),
    Key("attention_dropout", "dropout.attention", 0.0),
    Key("initializer_range", "initialisation.std", 0.02),
    Key("tie_word_embeddings", "heads.lm.tied", False),
    Constant("rope_scaling", None),
    Constant("rope_parameters.rope_type", "default"),
    Fact("max_position_embeddings", 2048),
    Fact("bos_token_id", 1),
    Fact("eos_token_id", 2),
)
"""Entries that LLaMA's configuration and those of its kin have in common."""

LLAMA_ATTENTION: Mapping[str, str] = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
"""The maps of an attention in LLaMA and its kin."""

LLAMA_BODY: tuple[WeightRule, ...] = (
    Rename("embeddings.token", "@embed_tokens"),
    Rename("decoder.blocks.*.attention", "@layers.*.self_attn", LLAMA_ATTENTION),
    Rename(
        "decoder.blocks.*",
        "@layers.*",
        {"attention_norm": "input_layernorm", "feedforward_norm": "post_attention_layernorm"},
    ),
    Rename("decoder.norm", "@norm"),
    Rename("heads.lm", "lm_head"),
    Tie("lm_head.weight", "@embed_tokens.weight"),
    Ignore("@layers.*.self_attn.rotary_emb.inv_freq"),
)
"""The tensors of LLaMA and its kin, but for the feed-forward networks."""

LLAMA_FEEDFORWARD = Rename(
    "decoder.blocks.*.feedforward",
    "@layers.*.mlp",
    {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"},
)
"""A gated feed-forward network in LLaMA and its kin."""

FAIRSEQ_ATTENTION: Mapping[str, str] = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
"""The maps of an attention in what descends from fairseq and Marian."""

SUMMARY = (
    "summary_type",
    "summary_use_proj",
    "summary_activation",
    "summary_proj_to_labels",
    "summary_first_dropout",
    "summary_last_dropout",
)
"""Entries of a classifier on top, which no language model reads."""

BLOOM_BODY: tuple[WeightRule, ...] = (
    Rename("embeddings", "@", {"token": "word_embeddings", "norm": "word_embeddings_layernorm"}),
    Split(
        "decoder.blocks.*.attention",
        "@h.*.self_attention.query_key_value",
        ("query", "key", "value"),
        groups="n_kv_heads",
    ),
    Rename("decoder.blocks.*.attention", "@h.*.self_attention", {"output": "dense"}),
    Rename("decoder.blocks.*.feedforward", "@h.*.mlp", {"up": "dense_h_to_4h", "down": "dense_4h_to_h"}),
    Rename("decoder.norm", "@ln_f"),
    Rename("heads.lm", "lm_head"),
    Tie("lm_head.weight", "@word_embeddings.weight"),
)
"""Tensors of BLOOM and Falcon, but for the norms of a block."""
