"""Kin of LLaMA that other groups trained: OLMo and GLM-4."""

from stemma.families.llama import LLAMA, LLAMA2
from stemma.families.names import LLAMA_BODY, LLAMA_CONFIG, LLAMA_FEEDFORWARD
from stemma.families.task_heads import LAST, SCORE, classifying, tagging
from stemma.spec.ends import LanguageModelHead
from stemma.spec.mapping import Checkpoint, Constant, Fact, Key, Rename, Split, Variant
from stemma.spec.parts import Bias, LayerNorm, RMSNorm, Rotary

OLMO_CHECKPOINT = Checkpoint(
    model_type="olmo",
    variants=(
        Variant("OlmoForCausalLM", (LanguageModelHead(tied=False),), "model."),
        Variant("OlmoModel", ()),
    ),
    config=(
        *LLAMA_CONFIG,
        Key("rope_theta", "position.base", 10_000.0, also=("rope_parameters.rope_theta",)),
        Key("attention_bias", ("bias.inputs", "bias.output"), False),
        Constant("clip_qkv", None),
    ),
    weights=(*LLAMA_BODY, LLAMA_FEEDFORWARD),
    tasks=(classifying("Olmo", "model.", LAST, SCORE),),
)

OLMO = LLAMA.derive(
    "olmo",
    year=2024,
    organisation="Allen Institute for AI",
    paper="arXiv:2402.00838",
    tokenizer="byte-level BPE, 50,280, padded to 50,304",
    data="Dolma: web, code, papers, books, Reddit and Wikipedia, 2.0T to 2.5T tokens",
    norm=LayerNorm(eps=1e-5, gain=False, offset=False),
    sizes={
        "7B": dict(n_layers=32, d_model=4096, n_heads=32, d_ff=11_008, vocab_size=50_304),
        "1B": dict(
            n_layers=16,
            d_model=2048,
            n_heads=16,
            d_ff=8192,
            vocab_size=50_304,
            heads=(LanguageModelHead(tied=True),),
        ),
    },
    checkpoint=OLMO_CHECKPOINT,
)

GLM4_CHECKPOINT = Checkpoint(
    model_type="glm",
    variants=(
        Variant("GlmForCausalLM", (LanguageModelHead(tied=False),), "model."),
        Variant("GlmModel", ()),
    ),
    config=(
        *LLAMA_CONFIG,
        Key("head_dim", "d_head", 128),
        Key("rms_norm_eps", "norm.eps", 1.5625e-7),
        Key("rope_theta", "position.base", 10_000.0, also=("rope_parameters.rope_theta",)),
        Key("partial_rotary_factor", "position.fraction", 0.5, also=("rope_parameters.partial_rotary_factor",)),
        Key("attention_bias", "bias.inputs", True),
        Fact("pad_token_id", 0),
    ),
    weights=(
        *LLAMA_BODY,
        Split("decoder.blocks.*.feedforward", "@layers.*.mlp.gate_up_proj", ("gate", "up")),
        Rename("decoder.blocks.*.feedforward", "@layers.*.mlp", {"down": "down_proj"}),
    ),
    tasks=(classifying("Glm", "model.", LAST, SCORE), tagging("Glm", "model.", "score")),
)

GLM4 = LLAMA2.derive(
    "glm4",
    year=2024,
    organisation="Zhipu AI, Tsinghua University",
    paper="arXiv:2406.12793",
    tokenizer="byte-level BPE, 151,343, padded to 151,552",
    data="web, Wikipedia, books, code and papers, mostly Chinese and English, 10T tokens",
    context=131_072,
    position=Rotary(fraction=0.5, layout="interleaved"),
    norm=RMSNorm(eps=1.5625e-7),
    bias=Bias(inputs=True, output=False, feedforward=False),
    sizes={
        "9B": dict(n_layers=40, d_model=4096, n_heads=32, n_kv_heads=2, d_head=128, d_ff=13_696, vocab_size=151_552)
    },
    checkpoint=GLM4_CHECKPOINT,
)
