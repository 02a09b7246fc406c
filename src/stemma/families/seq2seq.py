"""The root of the tree and its encoder-decoder branch: the 2017 Transformer and T5."""

from stemma.families.names import ACTIVATIONS, FAIRSEQ_ATTENTION
from stemma.families.task_heads import CLASSIFICATION_HEAD, answering, classifying
from stemma.spec.ends import Embedding, LanguageModelHead
from stemma.spec.lineage import Family
from stemma.spec.mapping import (
    Checkpoint,
    ConfigRule,
    Constant,
    Fact,
    Ignore,
    Key,
    Rename,
    Tie,
    Variant,
    WeightRule,
    Zero,
)
from stemma.spec.parts import (
    NO_BIAS,
    Bias,
    EncoderDecoder,
    Full,
    Gated,
    LayerNorm,
    Plain,
    PostNorm,
    PreNorm,
    RelativeBuckets,
    RMSNorm,
    Sinusoidal,
)
from stemma.spec.tasks import ClassifierHead
from stemma.spec.training import Dropout, FanIn, XavierUniform

FAIRSEQ_CONFIG: tuple[ConfigRule, ...] = (
    Key("vocab_size", "vocab_size"),
    Key("d_model", "d_model"),
    Key("encoder_layers", "n_layers"),
    Key("decoder_layers", "stacks.n_decoder_layers"),
    Key("encoder_attention_heads", "n_heads"),
    Key("decoder_attention_heads", "n_heads"),
    Key("encoder_ffn_dim", "d_ff"),
    Key("decoder_ffn_dim", "d_ff"),
    Key("activation_function", "feedforward.activation", "gelu", ACTIVATIONS),
    Key("scale_embedding", "embedding.scaled", False),
    Key("dropout", "dropout.residual", 0.1),
    Key("attention_dropout", "dropout.attention", 0.0),
    Key("activation_dropout", "dropout.feedforward", 0.0),
    Constant("tie_word_embeddings", True),
    Constant("normalize_before", False),
    Constant("add_final_layer_norm", False),
    Constant("add_bias_logits", False),
    Constant("is_decoder", False),
    *(Fact(name) for name in ("encoder_layerdrop", "decoder_layerdrop", "num_hidden_layers", "forced_eos_token_id")),
)
"""Entries that Marian's configuration and BART's have in common."""

FAIRSEQ_BODY: tuple[WeightRule, ...] = (
    Rename("embeddings.token", "model.shared"),
    Rename("*.blocks.*.attention", "model.*.layers.*.self_attn", FAIRSEQ_ATTENTION),
    Rename("*.blocks.*.cross_attention", "model.*.layers.*.encoder_attn", FAIRSEQ_ATTENTION),
    Rename("*.blocks.*.feedforward", "model.*.layers.*", {"up": "fc1", "down": "fc2"}),
    Rename(
        "*.blocks.*",
        "model.*.layers.*",
        {
            "attention_norm": "self_attn_layer_norm",
            "cross_attention_norm": "encoder_attn_layer_norm",
            "feedforward_norm": "final_layer_norm",
        },
    ),
    Tie("model.*.embed_tokens.weight", "model.shared.weight"),
)
"""Tensors that Marian's folders and BART's have in common, but for those of the scores."""

FAIRSEQ_SCORES: tuple[WeightRule, ...] = (
    Rename("heads.lm.bias", "final_logits_bias", row=True),
    Zero("final_logits_bias", (1, "vocab_size")),
    Tie("lm_head.weight", "model.shared.weight"),
)
"""Those of the scores."""

MARIAN = Checkpoint(
    model_type="marian",
    variants=(Variant("MarianMTModel", (LanguageModelHead(bias=True),), weights=FAIRSEQ_SCORES),),
    config=(
        *FAIRSEQ_CONFIG,
        Constant("share_encoder_decoder_embeddings", True),
        Constant("normalize_embedding", False),
        Constant("static_position_embeddings", True),
        Constant("extra_pos_embeddings", 0),
        *(Fact(name) for name in ("decoder_vocab_size", "init_std")),
        Fact("max_position_embeddings", 1024),
        Fact("decoder_start_token_id", 0),
        Fact("pad_token_id", 0),
        Fact("eos_token_id", 1),
    ),
    weights=(*FAIRSEQ_BODY, Ignore("model.*.embed_positions.weight")),
)

TRANSFORMER = Family(
    name="transformer",
    year=2017,
    organisation="Google",
    paper="arXiv:1706.03762",
    objective="translation",
    tokenizer="BPE, 37,000 shared by both languages",
    data="WMT 2014 English-German, 4.5M sentence pairs",
    context=None,
    traits=dict(
        stacks=EncoderDecoder(),
        position=Sinusoidal(),
        embedding=Embedding(scaled=True),
        norm=LayerNorm(eps=1e-5),
        placement=PostNorm(),
        attention=Full(),
        attention_scale=None,
        feedforward=Plain("relu"),
        experts=None,
        shared_layers=False,
        top_query=False,
        vision=None,
        modules=None,
        bias=Bias(),
        heads=(LanguageModelHead(tied=True),),
        dropout=Dropout(residual=0.1),
        initialisation=XavierUniform(),
    ),
    sizes={
        "base": dict(n_layers=6, d_model=512, n_heads=8, d_ff=2048, vocab_size=37_000),
        "big": dict(n_layers=6, d_model=1024, n_heads=16, d_ff=4096, vocab_size=37_000),
    },
    checkpoint=MARIAN,
)

_T5_HEADS = {"query": "q", "key": "k", "value": "v", "output": "o"}
_T5_ACTIVATIONS = {
    "relu": Plain("relu"),
    "gelu": Plain("gelu"),
    "gated-gelu": Gated("gelu_tanh"),
    "gated-silu": Gated("silu"),
    "gated-relu": Gated("relu"),
}
_T5_DROPOUT = ("dropout.residual", "dropout.attention", "dropout.feedforward", "dropout.output")
_T5_NORMS = {"attention_norm": "0.layer_norm"}
_T5_INERT = ("is_gated_act", "dense_act_fn", "initializer_factor", "n_positions", "classifier_dropout")


def _t5(up: dict[str, str], name: str = "T5") -> Checkpoint:
    """The rules of T5's folders, given how its feed-forward's inner maps are called, and mT5's."""
    feedforward = {**up, "down": "wo"}
    return Checkpoint(
        model_type=name.lower(),
        variants=(Variant(f"{name}ForConditionalGeneration", (LanguageModelHead(tied=True, scaled=name == "T5"),)),),
        config=(
            Key("vocab_size", "vocab_size"),
            Key("d_model", "d_model"),
            Key("d_kv", "d_head", 64),
            Key("d_ff", "d_ff"),
            Key("num_layers", "n_layers"),
            Key("num_decoder_layers", "stacks.n_decoder_layers", None),
            Key("num_heads", "n_heads"),
            Key("relative_attention_num_buckets", "position.n_buckets", 32),
            Key("relative_attention_max_distance", "position.max_distance", 128),
            Key("layer_norm_epsilon", "norm.eps", 1e-6),
            Key("feed_forward_proj", "feedforward", "relu", _T5_ACTIVATIONS),
            Key("dropout_rate", _T5_DROPOUT, 0.1),
            # mT5's code never scales.
            Fact("tie_word_embeddings")
            if name == "MT5"
            else Key("tie_word_embeddings", "heads.lm.scaled", True, also=("scale_decoder_outputs",)),
            Constant("is_decoder", False),
            *(Fact(name) for name in _T5_INERT),
            Fact("decoder_start_token_id", 0),
            Fact("pad_token_id", 0),
            Fact("eos_token_id", 1),
        ),
        weights=(
            Rename("embeddings.token", "@shared"),
            Rename("*.blocks.*.attention", "@*.block.*.layer.0.SelfAttention", _T5_HEADS),
            Rename("decoder.blocks.*.cross_attention", "@decoder.block.*.layer.1.EncDecAttention", _T5_HEADS),
            Rename("encoder.blocks.*.feedforward", "@encoder.block.*.layer.1.DenseReluDense", feedforward),
            Rename("decoder.blocks.*.feedforward", "@decoder.block.*.layer.2.DenseReluDense", feedforward),
            Rename("encoder.blocks.*", "@encoder.block.*.layer", _T5_NORMS | {"feedforward_norm": "1.layer_norm"}),
            Rename(
                "decoder.blocks.*",
                "@decoder.block.*.layer",
                _T5_NORMS | {"cross_attention_norm": "1.layer_norm", "feedforward_norm": "2.layer_norm"},
            ),
            Rename("*.relative_bias", "@*.block.0.layer.0.SelfAttention.relative_attention_bias"),
            Rename("*.norm", "@*.final_layer_norm"),
            Rename("heads.lm", "lm_head"),
            Tie("@*.embed_tokens.weight", "@shared.weight"),
            Tie("lm_head.weight", "@shared.weight"),
            Ignore("@decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"),
        ),
        # Their class for tags reads an encoder alone.
        tasks=(
            classifying(name, "transformer.", ClassifierHead(reads="last", dense="tanh"), CLASSIFICATION_HEAD),
            answering(name, ""),
        ),
        untied_by="lm_head.weight",
    )


T5 = TRANSFORMER.derive(
    "t5",
    year=2019,
    paper="arXiv:1910.10683",
    objective="span corruption with sentinels, mixed with supervised tasks as text to text",
    tokenizer="SentencePiece unigram, 32,000 and 100 sentinels",
    data="C4, 34B tokens seen",
    context=512,
    position=RelativeBuckets(),
    embedding=Embedding(),
    norm=RMSNorm(eps=1e-6),
    placement=PreNorm(),
    attention_scale=1.0,
    bias=NO_BIAS,
    heads=(LanguageModelHead(tied=True, scaled=True),),
    dropout=Dropout(residual=0.1, attention=0.1, feedforward=0.1, output=0.1),
    initialisation=FanIn(),
    sizes={
        "small": dict(n_layers=6, d_model=512, n_heads=8, d_head=64, d_ff=2048, vocab_size=32_128),
        "base": dict(n_layers=12, d_model=768, n_heads=12, d_head=64, d_ff=3072, vocab_size=32_128),
        "large": dict(n_layers=24, d_model=1024, n_heads=16, d_head=64, d_ff=4096, vocab_size=32_128),
        "3B": dict(n_layers=24, d_model=1024, n_heads=32, d_head=128, d_ff=16_384, vocab_size=32_128),
        "11B": dict(n_layers=24, d_model=1024, n_heads=128, d_head=128, d_ff=65_536, vocab_size=32_128),
    },
    checkpoint=_t5({"up": "wi"}),
)

T5_V1_1 = T5.derive(
    "t5-v1.1",
    year=2020,
    paper="arXiv:2002.05202",
    objective="span corruption with sentinels",
    feedforward=Gated("gelu_tanh"),
    heads=(LanguageModelHead(tied=False),),
    sizes={
        "small": dict(n_layers=8, d_model=512, n_heads=6, d_head=64, d_ff=1024, vocab_size=32_128),
        "base": dict(n_layers=12, d_model=768, n_heads=12, d_head=64, d_ff=2048, vocab_size=32_128),
        "large": dict(n_layers=24, d_model=1024, n_heads=16, d_head=64, d_ff=2816, vocab_size=32_128),
        "xl": dict(n_layers=24, d_model=2048, n_heads=32, d_head=64, d_ff=5120, vocab_size=32_128),
        "xxl": dict(n_layers=24, d_model=4096, n_heads=64, d_head=64, d_ff=10_240, vocab_size=32_128),
    },
    checkpoint=_t5({"gate": "wi_0", "up": "wi_1"}),
)

_MT5_SIZES = {name: {**size, "vocab_size": 250_112} for name, size in T5_V1_1.sizes.items()}

MT5 = T5_V1_1.derive(
    "mt5",
    organisation="Google Research",
    paper="arXiv:2010.11934",
    tokenizer="SentencePiece unigram with byte fallback, 250,112",
    data="mC4 in 101 languages, small ones drawn more often",
    context=1024,
    sizes=_MT5_SIZES,
    checkpoint=_t5({"gate": "wi_0", "up": "wi_1"}, "MT5"),
)
