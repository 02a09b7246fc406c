"""Decoders that a large community could open: OPT and BLOOM."""

from stemma.families.gpt import GPT3
from stemma.families.names import ACTIVATIONS, BLOOM_BODY, FAIRSEQ_ATTENTION
from stemma.families.task_heads import LAST, SCORE, answering, classifying, tagging
from stemma.spec.ends import Embedding, LanguageModelHead
from stemma.spec.mapping import Checkpoint, Constant, Fact, Key, Rename, Tie, Variant
from stemma.spec.parts import Alibi, Full, Learned, Plain, PostNorm, PreNorm
from stemma.spec.training import Dropout, Normal

OPT_CHECKPOINT = Checkpoint(
    model_type="opt",
    variants=(
        Variant("OPTForCausalLM", (LanguageModelHead(tied=True),), "model."),
        Variant("OPTModel", ()),
    ),
    config=(
        Key("vocab_size", "vocab_size"),
        Key("hidden_size", "d_model"),
        Key("num_hidden_layers", "n_layers"),
        Key("num_attention_heads", "n_heads"),
        Key("ffn_dim", "d_ff"),
        # Their table has two rows more.
        Key("max_position_embeddings", "position.max_positions", 2048, plus=2),
        Key("word_embed_proj_dim", "embedding.early_width", None, same_as="hidden_size"),
        Key("do_layer_norm_before", "placement", True, {True: PreNorm(), False: PostNorm()}),
        Key("activation_function", "feedforward.activation", "relu", ACTIVATIONS),
        Key("enable_bias", ("bias.inputs", "bias.output", "bias.feedforward"), True),
        Key("layer_norm_elementwise_affine", ("norm.gain", "norm.offset"), True),
        Key("dropout", "dropout.residual", 0.1),
        Key("attention_dropout", "dropout.attention", 0.0),
        Key("init_std", "initialisation.std", 0.02),
        Key("tie_word_embeddings", "heads.lm.tied", True),
        Constant("_remove_final_layer_norm", False),
        *(Fact(name) for name in ("activation_dropout", "layerdrop")),
        Fact("bos_token_id", 2),
        Fact("eos_token_id", 2),
        Fact("pad_token_id", 1),
    ),
    weights=(
        Rename(
            "embeddings",
            "@decoder",
            {"token": "embed_tokens", "position": "embed_positions", "early_widening": "project_in"},
        ),
        Rename("decoder.blocks.*.attention", "@decoder.layers.*.self_attn", FAIRSEQ_ATTENTION),
        Rename("decoder.blocks.*.feedforward", "@decoder.layers.*", {"up": "fc1", "down": "fc2"}),
        Rename(
            "decoder.blocks.*",
            "@decoder.layers.*",
            {"attention_norm": "self_attn_layer_norm", "feedforward_norm": "final_layer_norm"},
        ),
        Rename("decoder.norm", "@decoder.final_layer_norm"),
        Rename("decoder.narrowing", "@decoder.project_out"),
        Rename("heads.lm", "lm_head"),
        Tie("lm_head.weight", "@decoder.embed_tokens.weight"),
    ),
    tasks=(classifying("OPT", "model.", LAST, SCORE), answering("OPT", "model.")),
)

OPT = GPT3.derive(
    "opt",
    year=2022,
    organisation="Meta AI",
    paper="arXiv:2205.01068",
    tokenizer="byte-level BPE, 50,272",
    data="RoBERTa's corpora, the Pile and Reddit, 180B tokens",
    position=Learned(2050, offset=2),
    attention=Full(),
    feedforward=Plain("relu"),
    dropout=Dropout(residual=0.1),
    sizes={
        "125M": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=50_272),
        # The one that normalises after each sub-layer, and whose table of tokens is narrower than its blocks.
        "350M": dict(
            n_layers=24,
            d_model=1024,
            n_heads=16,
            vocab_size=50_272,
            placement=PostNorm(),
            embedding=Embedding(early_width=512),
        ),
        "1.3B": dict(n_layers=24, d_model=2048, n_heads=32, vocab_size=50_272),
        "2.7B": dict(n_layers=32, d_model=2560, n_heads=32, vocab_size=50_272),
        "6.7B": dict(n_layers=32, d_model=4096, n_heads=32, vocab_size=50_272),
        "13B": dict(n_layers=40, d_model=5120, n_heads=40, vocab_size=50_272),
        "30B": dict(n_layers=48, d_model=7168, n_heads=56, vocab_size=50_272),
        "66B": dict(n_layers=64, d_model=9216, n_heads=72, vocab_size=50_272),
        "175B": dict(n_layers=96, d_model=12_288, n_heads=96, vocab_size=50_272),
    },
    checkpoint=OPT_CHECKPOINT,
)

BLOOM_CHECKPOINT = Checkpoint(
    model_type="bloom",
    variants=(
        Variant("BloomForCausalLM", (LanguageModelHead(tied=True),), "transformer."),
        Variant("BloomModel", ()),
    ),
    config=(
        Key("vocab_size", "vocab_size"),
        Key("hidden_size", "d_model", also=("n_embed",)),
        Key("n_layer", "n_layers", also=("num_hidden_layers",)),
        Key("n_head", "n_heads", also=("num_attention_heads",)),
        Key("layer_norm_epsilon", "norm.eps", 1e-5),
        Key("hidden_dropout", "dropout.residual", 0.0),
        Key("attention_dropout", "dropout.attention", 0.0),
        Key("initializer_range", "initialisation.std", 0.02),
        Key("tie_word_embeddings", "heads.lm.tied", True),
        Constant("apply_residual_connection_post_layernorm", False),
        Constant("attention_softmax_in_fp32", True),
        Constant("masked_softmax_fusion", True),
        *(
            Fact(name)
            for name in ("pretraining_tp", "seq_length", "slow_but_exact", "skip_bias_add", "skip_bias_add_qkv")
        ),
        *(Fact(name) for name in ("bias_dropout_fusion", "offset_alibi", "unk_token_id")),
        Fact("bos_token_id", 1),
        Fact("eos_token_id", 2),
    ),
    weights=(
        *BLOOM_BODY,
        Rename(
            "decoder.blocks.*",
            "@h.*",
            {"attention_norm": "input_layernorm", "feedforward_norm": "post_attention_layernorm"},
        ),
    ),
    tasks=(
        classifying("Bloom", "transformer.", LAST, SCORE),
        tagging("Bloom", "transformer."),
        answering("Bloom", "transformer."),
    ),
)

BLOOM = GPT3.derive(
    "bloom",
    year=2022,
    organisation="BigScience",
    paper="arXiv:2211.05100",
    tokenizer="byte-level BPE, 250,680, padded to 250,880",
    data="ROOTS: 46 languages and 13 programming languages, 1.6 TB, 366B tokens",
    position=Alibi(),
    attention=Full(),
    embedding=Embedding(norm=True),
    dropout=Dropout(),
    initialisation=Normal(std=0.02),
    sizes={
        "560M": dict(n_layers=24, d_model=1024, n_heads=16, vocab_size=250_880),
        "1.1B": dict(n_layers=24, d_model=1536, n_heads=16, vocab_size=250_880),
        "1.7B": dict(n_layers=24, d_model=2048, n_heads=16, vocab_size=250_880),
        "3B": dict(n_layers=30, d_model=2560, n_heads=32, vocab_size=250_880),
        "7.1B": dict(n_layers=30, d_model=4096, n_heads=32, vocab_size=250_880),
        "176B": dict(n_layers=70, d_model=14_336, n_heads=112, vocab_size=250_880),
    },
    checkpoint=BLOOM_CHECKPOINT,
)
