"""The decoder-only branch up to 2020: GPT, GPT-2 and GPT-3."""

from stemma.families.names import ACTIVATIONS, GGUF_DECODER, GGUF_SIZES, SUMMARY
from stemma.families.seq2seq import TRANSFORMER
from stemma.families.task_heads import LAST, SCORE, answering, classifying, tagging
from stemma.spec.ends import Embedding, LanguageModelHead
from stemma.spec.mapping import (
    Checkpoint,
    ConfigRule,
    Constant,
    Fact,
    Gguf,
    Ignore,
    Key,
    Rename,
    Split,
    Tie,
    Variant,
    WeightRule,
)
from stemma.spec.parts import Alternating, Decoder, Full, Learned, Plain, PreNorm, SlidingWindow
from stemma.spec.training import Dropout, Normal

_QKV = ("query", "key", "value")
_INERT = (*SUMMARY, "n_ctx", "n_special", "reorder_and_upcast_attn", "task_specific_params", "predict_special_tokens")

_CONFIG: tuple[ConfigRule, ...] = (
    Key("vocab_size", "vocab_size"),
    Key("n_positions", "position.max_positions"),
    Key("n_embd", "d_model"),
    Key("n_layer", "n_layers"),
    Key("n_head", "n_heads"),
    Key("layer_norm_epsilon", "norm.eps", 1e-5),
    Key("resid_pdrop", "dropout.residual", 0.1),
    Key("attn_pdrop", "dropout.attention", 0.1),
    Key("initializer_range", "initialisation.std", 0.02),
    Key("tie_word_embeddings", "heads.lm.tied", True),
    *(Fact(name) for name in _INERT),
    Fact("embd_pdrop", 0.1),
)

_BODY: tuple[WeightRule, ...] = (
    Split("decoder.blocks.*.attention", "@h.*.attn.c_attn", _QKV, transposed=True),
    Rename("decoder.blocks.*.attention", "@h.*.attn", {"output": "c_proj"}, transposed=True),
    Rename("decoder.blocks.*.feedforward", "@h.*.mlp", {"up": "c_fc", "down": "c_proj"}, transposed=True),
    Rename("decoder.blocks.*", "@h.*", {"attention_norm": "ln_1", "feedforward_norm": "ln_2"}),
    Rename("heads.lm", "lm_head"),
    Ignore("@h.*.attn.bias"),
    Ignore("@h.*.attn.masked_bias"),
)

GPT_CHECKPOINT = Checkpoint(
    model_type="openai-gpt",
    variants=(
        Variant("OpenAIGPTLMHeadModel", (LanguageModelHead(tied=True),), "transformer."),
        Variant("OpenAIGPTModel", ()),
    ),
    config=(
        *_CONFIG,
        # Their "gelu" is the approximation by tanh.
        Key(
            "afn",
            "feedforward.activation",
            "gelu",
            {"gelu": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"},
        ),
    ),
    weights=(
        Rename("embeddings", "@", {"token": "tokens_embed", "position": "positions_embed"}),
        *_BODY,
        Tie("lm_head.weight", "@tokens_embed.weight"),
        Ignore("@position_ids"),
    ),
    tasks=(classifying("OpenAIGPT", "transformer.", LAST, SCORE),),
)

GPT = TRANSFORMER.derive(
    "gpt",
    year=2018,
    organisation="OpenAI",
    paper="Improving Language Understanding by Generative Pre-Training",
    objective="next token",
    tokenizer="BPE, 40,478",
    data="BooksCorpus, 7,000 books",
    context=512,
    stacks=Decoder(),
    position=Learned(512),
    embedding=Embedding(),
    feedforward=Plain("gelu_tanh"),
    dropout=Dropout(residual=0.1, attention=0.1),
    initialisation=Normal(std=0.02),
    sizes={"117M": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=40_478)},
    checkpoint=GPT_CHECKPOINT,
)

GPT2_CHECKPOINT = Checkpoint(
    model_type="gpt2",
    variants=(
        Variant("GPT2LMHeadModel", (LanguageModelHead(tied=True),), "transformer."),
        Variant("GPT2Model", ()),
    ),
    config=(
        *_CONFIG,
        Key("n_inner", "d_ff", None),
        Key("activation_function", "feedforward.activation", "gelu_new", ACTIVATIONS),
        Constant("scale_attn_weights", True),
        Constant("scale_attn_by_inverse_layer_idx", False),
        Constant("add_cross_attention", False),
        Fact("bos_token_id", 50_256),
        Fact("eos_token_id", 50_256),
    ),
    weights=(
        Rename("embeddings", "@", {"token": "wte", "position": "wpe"}),
        *_BODY,
        Rename("decoder.norm", "@ln_f"),
        Tie("lm_head.weight", "@wte.weight"),
    ),
    tasks=(
        classifying("GPT2", "transformer.", LAST, SCORE),
        tagging("GPT2", "transformer."),
        answering("GPT2", "transformer."),
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

GPT2 = GPT.derive(
    "gpt2",
    year=2019,
    paper="Language Models are Unsupervised Multitask Learners",
    tokenizer="byte-level BPE, 50,257",
    data="WebText, 8M documents, 40 GB",
    context=1024,
    position=Learned(1024),
    placement=PreNorm(),
    initialisation=Normal(std=0.02, shrink_residual=True),
    sizes={
        "117M": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=50_257),
        "345M": dict(n_layers=24, d_model=1024, n_heads=16, vocab_size=50_257),
        "762M": dict(n_layers=36, d_model=1280, n_heads=20, vocab_size=50_257),
        "1542M": dict(n_layers=48, d_model=1600, n_heads=25, vocab_size=50_257),
    },
    checkpoint=GPT2_CHECKPOINT,
)

# Which blocks are banded and how widely was not published; "alternating dense and locally banded sparse attention
# patterns" is all that section 2.1 says. The width here is twice the stride of the text model of the Sparse Transformer
# (Child et al. 2019), on which they build. No parameter depends on it.
GPT3 = GPT2.derive(
    "gpt3",
    year=2020,
    paper="arXiv:2005.14165",
    data="CommonCrawl, WebText2, Books1, Books2 and Wikipedia, 300B tokens seen",
    context=2048,
    position=Learned(2048),
    attention=Alternating((Full(), SlidingWindow(256))),
    sizes={
        "125M": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=50_257),
        "350M": dict(n_layers=24, d_model=1024, n_heads=16, vocab_size=50_257),
        "760M": dict(n_layers=24, d_model=1536, n_heads=16, vocab_size=50_257),
        # Table 2.1 says 24 heads of 128 channels, which come to 3072.
        "1.3B": dict(n_layers=24, d_model=2048, n_heads=16, vocab_size=50_257),
        "2.7B": dict(n_layers=32, d_model=2560, n_heads=32, vocab_size=50_257),
        "6.7B": dict(n_layers=32, d_model=4096, n_heads=32, vocab_size=50_257),
        # Table 2.1 says 5140, which 40 heads of 128 channels contradict.
        "13B": dict(n_layers=40, d_model=5120, n_heads=40, vocab_size=50_257),
        "175B": dict(n_layers=96, d_model=12_288, n_heads=96, vocab_size=50_257),
    },
    checkpoint=None,
)
