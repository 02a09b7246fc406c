"""The decoder-only branch up to 2020: GPT-2."""

from stemma.families.names import ACTIVATIONS, GGUF_DECODER, GGUF_SIZES
from stemma.families.seq2seq import TRANSFORMER
from stemma.spec.mapping import Checkpoint, Constant, Fact, Gguf, Ignore, Key, Rename, Split, Tie, Variant
from stemma.spec.parts import (
    Decoder,
    Dropout,
    Embedding,
    LanguageModelHead,
    Learned,
    Normal,
    Plain,
    PreNorm,
)

_QKV = ("query", "key", "value")
_INERT = (
    "summary_type",
    "summary_use_proj",
    "summary_activation",
    "summary_proj_to_labels",
    "summary_first_dropout",
    "n_ctx",
    "reorder_and_upcast_attn",
    "task_specific_params",
)

GPT2_CHECKPOINT = Checkpoint(
    model_type="gpt2",
    variants=(
        Variant("GPT2LMHeadModel", (LanguageModelHead(tied=True),), "transformer."),
        Variant("GPT2Model", ()),
    ),
    config=(
        Key("vocab_size", "vocab_size"),
        Key("n_positions", "position.max_positions"),
        Key("n_embd", "d_model"),
        Key("n_layer", "n_layers"),
        Key("n_head", "n_heads"),
        Key("n_inner", "d_ff", None),
        Key("activation_function", "feedforward.activation", "gelu_new", ACTIVATIONS),
        Key("layer_norm_epsilon", "norm.eps", 1e-5),
        Key("resid_pdrop", "dropout.residual", 0.1),
        Key("attn_pdrop", "dropout.attention", 0.1),
        Key("initializer_range", "initialisation.std", 0.02),
        Key("tie_word_embeddings", "heads.lm.tied", True),
        Constant("scale_attn_weights", True),
        Constant("scale_attn_by_inverse_layer_idx", False),
        Constant("add_cross_attention", False),
        *(Fact(name) for name in _INERT),
        Fact("embd_pdrop", 0.1),
        Fact("bos_token_id", 50_256),
        Fact("eos_token_id", 50_256),
    ),
    weights=(
        Rename("embeddings", "@", {"token": "wte", "position": "wpe"}),
        Split("decoder.blocks.*.attention", "@h.*.attn.c_attn", _QKV, transposed=True),
        Rename("decoder.blocks.*.attention", "@h.*.attn", {"output": "c_proj"}, transposed=True),
        Rename("decoder.blocks.*.feedforward", "@h.*.mlp", {"up": "c_fc", "down": "c_proj"}, transposed=True),
        Rename("decoder.blocks.*", "@h.*", {"attention_norm": "ln_1", "feedforward_norm": "ln_2"}),
        Rename("decoder.norm", "@ln_f"),
        Rename("heads.lm", "lm_head"),
        Tie("lm_head.weight", "@wte.weight"),
        Ignore("@h.*.attn.bias"),
        Ignore("@h.*.attn.masked_bias"),
    ),
    gguf=Gguf(
        architecture="gpt2",
        heads=(LanguageModelHead(tied=True),),
        config=(
            *GGUF_SIZES,
            Key("context_length", "position.max_positions"),
            Key("attention.layer_norm_epsilon", "norm.eps"),
            Fact("vocab_size"),
        ),
        weights=(
            Rename("embeddings", "", {"token": "token_embd", "position": "position_embd"}),
            Split("decoder.blocks.*.attention", "blk.*.attn_qkv", _QKV),
            Rename("decoder.blocks.*.attention", "blk.*", {"output": "attn_output"}),
            *GGUF_DECODER,
        ),
    ),
)

GPT2 = TRANSFORMER.derive(
    "gpt2",
    year=2019,
    organisation="OpenAI",
    paper="Language Models are Unsupervised Multitask Learners",
    objective="next token",
    tokenizer="byte-level BPE, 50,257",
    data="WebText, 8M documents, 40 GB",
    context=1024,
    stacks=Decoder(),
    position=Learned(1024),
    embedding=Embedding(),
    placement=PreNorm(),
    feedforward=Plain("gelu_tanh"),
    dropout=Dropout(residual=0.1, attention=0.1),
    initialisation=Normal(std=0.02, shrink_residual=True),
    sizes={
        "117M": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=50_257),
        "345M": dict(n_layers=24, d_model=1024, n_heads=16, vocab_size=50_257),
        "762M": dict(n_layers=36, d_model=1280, n_heads=20, vocab_size=50_257),
        "1542M": dict(n_layers=48, d_model=1600, n_heads=25, vocab_size=50_257),
    },
    checkpoint=GPT2_CHECKPOINT,
)
