"""LLaMA with a window and with experts: Mistral, SOLAR, Mixtral."""

from stemma.families.llama import LLAMA2
from stemma.families.names import LLAMA_BODY, LLAMA_CONFIG, LLAMA_FEEDFORWARD
from stemma.families.task_heads import LAST, SCORE, answering, classifying, tagging
from stemma.spec.ends import LanguageModelHead
from stemma.spec.mapping import Checkpoint, ConfigRule, Fact, Key, Rename, Variant, WeightRule
from stemma.spec.parts import Experts, Full, Rotary, SlidingWindow


def _checkpoint(
    name: str, window: int | None, base: float, eps: float, more: tuple[ConfigRule, ...], inner: tuple[WeightRule, ...]
) -> Checkpoint:
    """The rules of a folder, given its class and what an absent key means in it."""
    return Checkpoint(
        model_type=name.lower(),
        variants=(
            Variant(f"{name}ForCausalLM", (LanguageModelHead(tied=False),), "model."),
            Variant(f"{name}Model", ()),
        ),
        config=(
            *LLAMA_CONFIG,
            Key("head_dim", "d_head", None),
            Key("rms_norm_eps", "norm.eps", eps),
            Key("rope_theta", "position.base", base, also=("rope_parameters.rope_theta",)),
            Key("sliding_window", "attention.window", window, null=("attention", Full())),
            *more,
        ),
        weights=(*LLAMA_BODY, *inner),
        tasks=(
            classifying(name, "model.", LAST, SCORE),
            tagging(name, "model.", "score"),
            answering(name, "model."),
        ),
    )


MISTRAL = LLAMA2.derive(
    "mistral",
    year=2023,
    organisation="Mistral AI",
    paper="arXiv:2310.06825",
    data="not published",
    context=8192,
    attention=SlidingWindow(4096),
    sizes={"7B": dict(n_layers=32, d_model=4096, n_heads=32, n_kv_heads=8, d_ff=14_336, vocab_size=32_000)},
    checkpoint=_checkpoint("Mistral", 4096, 10_000.0, 1e-6, (), (LLAMA_FEEDFORWARD,)),
)

# Depth up-scaling: Mistral's 32 blocks twice, without the last 8 of the first copy and the first 8 of the second.
SOLAR = LLAMA2.derive(
    "solar",
    year=2023,
    organisation="Upstage",
    paper="arXiv:2312.15166",
    objective="next token, after Mistral's blocks were stacked on themselves",
    data="not published",
    sizes={"10.7B": dict(n_layers=48, d_model=4096, n_heads=32, n_kv_heads=8, d_ff=14_336, vocab_size=32_000)},
)

_EXPERTS: tuple[WeightRule, ...] = (
    Rename("decoder.blocks.*.feedforward.router", "@layers.*.block_sparse_moe.gate"),
    Rename(
        "decoder.blocks.*.feedforward.experts.*",
        "@layers.*.block_sparse_moe.experts.*",
        {"gate": "w1", "up": "w3", "down": "w2"},
    ),
)

MIXTRAL = MISTRAL.derive(
    "mixtral",
    year=2024,
    paper="arXiv:2401.04088",
    context=32_768,
    position=Rotary(base=1e6),
    attention=Full(),
    experts=Experts(n_experts=8, n_active=2),
    sizes={
        "8x7B": dict(n_layers=32, d_model=4096, n_heads=32, n_kv_heads=8, d_ff=14_336, vocab_size=32_000),
        "8x22B": dict(n_layers=56, d_model=6144, n_heads=48, n_kv_heads=8, d_ff=16_384, vocab_size=32_768),
    },
    checkpoint=_checkpoint(
        "Mixtral",
        None,
        1e6,
        1e-5,
        (
            Key("num_local_experts", "experts.n_experts", 8),
            Key("num_experts_per_tok", "experts.n_active", 2),
            *(Fact(name) for name in ("output_router_logits", "router_aux_loss_coef", "router_jitter_noise")),
        ),
        _EXPERTS,
    ),
)
