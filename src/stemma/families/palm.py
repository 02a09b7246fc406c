"""Google's decoders of 2022, LaMDA and PaLM, and Falcon, which has PaLM's block."""

from stemma.families.gpt import GPT3
from stemma.families.names import ACTIVATIONS, BLOOM_BODY
from stemma.families.task_heads import LAST, SCORE, answering, classifying, tagging
from stemma.spec.ends import LanguageModelHead
from stemma.spec.mapping import Checkpoint, ConfigRule, Constant, Fact, Ignore, Key, Rename, Variant
from stemma.spec.parts import NO_BIAS, Alibi, Full, Gated, LayerNorm, Parallel, Plain, PreNorm, RelativeBuckets, Rotary
from stemma.spec.training import Dropout, Normal

# The inner width of 65,536 is published for 137B alone; the two smaller ones keep that ratio to d_model here, by which
# they come to 2.2B and 8.7B.
LAMDA = GPT3.derive(
    "lamda",
    year=2022,
    organisation="Google",
    paper="arXiv:2201.08239",
    tokenizer="SentencePiece BPE, 32,000",
    data="dialogue and web documents, 1.56T words, 2.81T tokens",
    context=None,
    position=RelativeBuckets(),
    attention=Full(),
    feedforward=Gated("gelu_tanh"),
    bias=NO_BIAS,
    dropout=Dropout(),
    sizes={
        "2B": dict(n_layers=10, d_model=2560, n_heads=40, d_head=128, d_ff=20_480, vocab_size=32_000),
        "8B": dict(n_layers=16, d_model=4096, n_heads=64, d_head=128, d_ff=32_768, vocab_size=32_000),
        "137B": dict(n_layers=64, d_model=8192, n_heads=128, d_head=128, d_ff=65_536, vocab_size=32_000),
    },
)

# A decoder alone, whatever tables of models say elsewhere (section 2).
PALM = GPT3.derive(
    "palm",
    year=2022,
    organisation="Google",
    paper="arXiv:2204.02311",
    tokenizer="SentencePiece, 256,000, lossless",
    data="web, books, Wikipedia, news, code and dialogue, 780B tokens",
    position=Rotary(layout="interleaved"),
    norm=LayerNorm(eps=1e-6, offset=False),
    placement=Parallel(),
    attention=Full(),
    feedforward=Gated("silu"),
    bias=NO_BIAS,
    dropout=Dropout(),
    sizes={
        "8B": dict(n_layers=32, d_model=4096, n_heads=16, n_kv_heads=1, d_head=256, d_ff=16_384, vocab_size=256_000),
        "62B": dict(n_layers=64, d_model=8192, n_heads=32, n_kv_heads=1, d_head=256, d_ff=32_768, vocab_size=256_000),
        "540B": dict(
            n_layers=118, d_model=18_432, n_heads=48, n_kv_heads=1, d_head=256, d_ff=73_728, vocab_size=256_000
        ),
    },
)


def _falcon(norms: dict[str, str], *layout: ConfigRule) -> Checkpoint:
    """The rules of Falcon's folders, given how its norms are called and what tells its two layouts apart."""
    return Checkpoint(
        model_type="falcon",
        variants=(
            Variant("FalconForCausalLM", (LanguageModelHead(tied=True),), "transformer."),
            Variant("FalconModel", ()),
        ),
        config=(
            Key("vocab_size", "vocab_size"),
            Key("hidden_size", "d_model"),
            Key("num_hidden_layers", "n_layers", also=("n_layer",)),
            Key("num_attention_heads", "n_heads", also=("n_head",)),
            Key("ffn_hidden_size", "d_ff", None),
            Key("activation", "feedforward.activation", "gelu", ACTIVATIONS),
            Key("layer_norm_epsilon", "norm.eps", 1e-5),
            Key("rope_theta", "position.base", 10_000.0, also=("rope_parameters.rope_theta",)),
            Key("bias", ("bias.inputs", "bias.output", "bias.feedforward"), False),
            Key("hidden_dropout", "dropout.residual", 0.0),
            Key("attention_dropout", "dropout.attention", 0.0),
            Key("initializer_range", "initialisation.std", 0.02),
            Key("tie_word_embeddings", "heads.lm.tied", True),
            Constant("rope_scaling", None),
            Constant("rope_parameters.rope_type", "default"),
            *layout,
            Fact("max_position_embeddings", 2048),
            Fact("bos_token_id", 11),
            Fact("eos_token_id", 11),
        ),
        weights=(
            *BLOOM_BODY,
            Rename("decoder.blocks.*", "@h.*", norms),
            Ignore("@h.*.self_attention.rotary_emb.inv_freq"),
            Ignore("@h.*.self_attention.maybe_rotary.inv_freq"),
        ),
        tasks=(
            classifying("Falcon", "transformer.", LAST, SCORE),
            tagging("Falcon", "transformer."),
            answering("Falcon", "transformer."),
        ),
    )


FALCON = PALM.derive(
    "falcon",
    year=2023,
    organisation="Technology Innovation Institute",
    paper="arXiv:2311.16867",
    tokenizer="byte-level BPE, 65,024",
    data="RefinedWeb and curated corpora, 1.5T tokens",
    position=Rotary(),
    norm=LayerNorm(eps=1e-5),
    feedforward=Plain("gelu"),
    initialisation=Normal(std=0.02),
    sizes={"7B": dict(n_layers=32, d_model=4544, n_heads=71, n_kv_heads=1, vocab_size=65_024)},
    checkpoint=_falcon(
        {"attention_norm": "input_layernorm", "feedforward_norm": "post_attention_layernorm"},
        Constant("new_decoder_architecture", False),
        Key("multi_query", "n_kv_heads", True, {True: 1, False: 0}),
        Key("parallel_attn", "placement", True, {True: Parallel(), False: PreNorm()}),
        Key("alibi", "position", False, {True: Alibi(scaled=True), False: Rotary()}),
        Constant("num_ln_in_parallel_attn", None),
        Fact("num_kv_heads"),
    ),
)

FALCON_40B = FALCON.derive(
    "falcon-40b",
    data="RefinedWeb and curated corpora, 1.0T tokens; 3.5T for 180B",
    placement=Parallel(separate=True),
    sizes={
        "40B": dict(n_layers=60, d_model=8192, n_heads=128, n_kv_heads=8, vocab_size=65_024),
        "180B": dict(n_layers=80, d_model=14_848, n_heads=232, n_kv_heads=8, vocab_size=65_024),
    },
    checkpoint=_falcon(
        {"attention_norm": "ln_attn", "feedforward_norm": "ln_mlp"},
        Constant("new_decoder_architecture", True, written=True),
        Key("num_kv_heads", "n_kv_heads", None),
        Constant("num_ln_in_parallel_attn", 2, also=(None,), written=True),
        Constant("parallel_attn", True),
        Constant("alibi", False),
        Fact("multi_query"),
    ),
)
