"""LLaMA and what follows from it."""

from stemma.families.gpt import GPT2
from stemma.families.names import GGUF_DECODER, GGUF_SIZES, LLAMA_BODY, LLAMA_CONFIG, LLAMA_FEEDFORWARD
from stemma.families.task_heads import LAST, SCORE, answering, classifying, tagging
from stemma.spec.ends import LanguageModelHead
from stemma.spec.mapping import Checkpoint, Constant, Fact, Gguf, Ignore, Key, Permute, Rename, Variant
from stemma.spec.parts import NO_BIAS, Gated, RMSNorm, Rotary
from stemma.spec.training import Dropout, Normal

LLAMA_CHECKPOINT = Checkpoint(
    model_type="llama",
    variants=(
        Variant("LlamaForCausalLM", (LanguageModelHead(tied=False),), "model."),
        Variant("LlamaModel", ()),
    ),
    config=(
        *LLAMA_CONFIG,
        Key("head_dim", "d_head", None),
        Key("rms_norm_eps", "norm.eps", 1e-6),
        Key("rope_theta", "position.base", 10_000.0, also=("rope_parameters.rope_theta",)),
        Key("attention_bias", ("bias.inputs", "bias.output"), False),
        Key("mlp_bias", "bias.feedforward", False),
        Constant("rope_interleaved", False),
        Fact("pretraining_tp"),
    ),
    weights=(*LLAMA_BODY, LLAMA_FEEDFORWARD),
    tasks=(
        classifying("Llama", "model.", LAST, SCORE),
        tagging("Llama", "model.", "score"),
        answering("Llama", "transformer."),
    ),
    gguf=Gguf(
        architecture="llama",
        heads=(LanguageModelHead(tied=True),),
        config=(
            *GGUF_SIZES,
            Key("attention.head_count_kv", "n_kv_heads", None),
            Key("attention.key_length", "d_head", None),
            Key("rope.dimension_count", "d_head", None),
            Key("attention.layer_norm_rms_epsilon", "norm.eps"),
            Key("rope.freq_base", "position.base", 10_000.0),
            Constant("rope.scaling.type", "none"),
            Constant("expert_count", 0),
            *(Fact(name) for name in ("context_length", "vocab_size", "attention.value_length")),
        ),
        weights=(
            Rename("embeddings.token", "token_embd"),
            Permute(
                "decoder.blocks.*.attention",
                "blk.*",
                {"query": "attn_q", "key": "attn_k"},
                {"query": "n_heads", "key": "n_kv_heads"},
            ),
            Rename("decoder.blocks.*.attention", "blk.*", {"value": "attn_v", "output": "attn_output"}),
            *GGUF_DECODER,
            Ignore("rope_freqs.weight"),
        ),
    ),
)

LLAMA = GPT2.derive(
    "llama",
    year=2023,
    organisation="Meta AI",
    paper="arXiv:2302.13971",
    tokenizer="SentencePiece BPE with byte fallback, 32,000",
    data="public text, 1.0T to 1.4T tokens",
    context=2048,
    position=Rotary(base=10_000.0),
    norm=RMSNorm(eps=1e-6),
    feedforward=Gated("silu"),
    bias=NO_BIAS,
    heads=(LanguageModelHead(tied=False),),
    dropout=Dropout(),
    initialisation=Normal(std=0.02),
    sizes={
        "7B": dict(n_layers=32, d_model=4096, n_heads=32, d_ff=11_008, vocab_size=32_000),
        "13B": dict(n_layers=40, d_model=5120, n_heads=40, d_ff=13_824, vocab_size=32_000),
        "33B": dict(n_layers=60, d_model=6656, n_heads=52, d_ff=17_920, vocab_size=32_000),
        "65B": dict(n_layers=80, d_model=8192, n_heads=64, d_ff=22_016, vocab_size=32_000),
    },
    checkpoint=LLAMA_CHECKPOINT,
)

LLAMA2 = LLAMA.derive(
    "llama2",
    paper="arXiv:2307.09288",
    data="public text, 2.0T tokens",
    context=4096,
    norm=RMSNorm(eps=1e-5),
    sizes={
        "7B": dict(n_layers=32, d_model=4096, n_heads=32, d_ff=11_008, vocab_size=32_000),
        "13B": dict(n_layers=40, d_model=5120, n_heads=40, d_ff=13_824, vocab_size=32_000),
        "70B": dict(n_layers=80, d_model=8192, n_heads=64, n_kv_heads=8, d_ff=28_672, vocab_size=32_000),
    },
)

# Fine-tuned on what ChatGPT answered; nothing but data differs.
VICUNA = LLAMA.derive(
    "vicuna",
    organisation="LMSYS",
    paper="Vicuna: An Open-Source Chatbot Impressing GPT-4 with 90%* ChatGPT Quality",
    objective="answers in conversations that users shared",
    data="LLaMA's, then ShareGPT, 70K conversations",
    sizes={name: LLAMA.sizes[name] for name in ("7B", "13B", "33B")},
)

# Imitates GPT-4's explanations and step-by-step traces.
ORCA = LLAMA.derive(
    "orca",
    organisation="Microsoft Research",
    paper="arXiv:2306.02707",
    objective="answers of larger models with their explanations",
    data="LLaMA's, then FLAN-v2 tasks answered 5M times by ChatGPT and 1M times by GPT-4",
    sizes={"13B": LLAMA.sizes["13B"]},
)
