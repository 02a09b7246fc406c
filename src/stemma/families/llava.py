"""Images before a decoder: LLaVA, the open shape of a model that reads images and text and writes text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stemma.families.llama import LLAMA2, LLAMA_CHECKPOINT
from stemma.families.names import ACTIVATIONS
from stemma.spec.ends import LanguageModelHead, Vision
from stemma.spec.mapping import Checkpoint, ConfigRule, Constant, Fact, Ignore, Key, Rename, Tie, Variant


def _inside(nest: str, rules: Sequence[ConfigRule], defaults: Mapping[str, Any]) -> Iterator[ConfigRule]:
    """A table whose entries lie in an object of their configuration, where more of them may be absent."""
    for rule in rules:
        inner = replace(rule, theirs=f"{nest}.{rule.theirs}")
        if isinstance(inner, Key):
            also = tuple(f"{nest}.{name}" for name in inner.also)
            inner = replace(inner, also=also, default=defaults.get(rule.theirs, inner.default))
        yield inner


# An entry that is absent from text_config means what it means to LLaMA's class: the released 7B states its vocabulary.
_LLAMA_7B = dict(
    vocab_size=32_000, hidden_size=4096, intermediate_size=11_008, num_hidden_layers=32, num_attention_heads=32
)
_TOWER = "vision_tower.vision_model"
_TOWER_ACTIVATIONS = {"quick_gelu": "gelu_sigmoid", **ACTIVATIONS}

LLAVA_CHECKPOINT = Checkpoint(
    model_type="llava",
    variants=(Variant("LlavaForConditionalGeneration", (LanguageModelHead(tied=False),), "language_model.model."),),
    config=(
        *_inside("text_config", LLAMA_CHECKPOINT.config, _LLAMA_7B),
        Constant("text_config.model_type", "llama", written=True),
        Constant("vision_config.model_type", "clip_vision_model", written=True),
        Key("vision_config.image_size", "vision.image_size"),
        Key("vision_config.patch_size", "vision.patch_size"),
        Key("vision_config.num_hidden_layers", "vision.n_layers"),
        Key("vision_config.hidden_size", "vision.d_model"),
        Key("vision_config.num_attention_heads", "vision.n_heads"),
        Key("vision_config.intermediate_size", "vision.d_ff"),
        Key("vision_config.hidden_act", "vision.activation", "quick_gelu", _TOWER_ACTIVATIONS),
        Key("vision_config.layer_norm_eps", "vision.eps", 1e-5),
        Key("vision_feature_layer", "vision.layer", -2),
        Key("vision_feature_select_strategy", "vision.class_vector", "default", {"default": False, "full": True}),
        Key("image_token_index", "vision.token", 32_000, also=("image_token_id",)),
        Key("projector_hidden_act", "vision.projector", "gelu", ACTIVATIONS),
        Key("tie_word_embeddings", "heads.lm.tied", None),
        Constant("multimodal_projector_bias", True),
        Constant("vision_config.num_channels", 3),
        *(Constant(f"vision_config.{rate}", 0.0) for rate in ("attention_dropout", "dropout")),
        *(Fact(f"vision_config.initializer_{name}") for name in ("range", "factor")),
        *(Fact(f"vision_config.{name}") for name in ("projection_dim", "vocab_size")),
        *(Fact(name) for name in ("image_seq_length", "ignore_index", "vocab_size")),
    ),
    weights=(
        Rename("vision.patches", f"{_TOWER}.embeddings.patch_embedding"),
        Rename("vision.class_vector", f"{_TOWER}.embeddings.class_embedding"),
        Rename("vision.additions.position", f"{_TOWER}.embeddings.position_embedding"),
        Rename("vision.additions.norm", f"{_TOWER}.pre_layrnorm"),
        Rename(
            "vision.tower.blocks.*",
            f"{_TOWER}.encoder.layers.*",
            {
                "attention.query": "self_attn.q_proj",
                "attention.key": "self_attn.k_proj",
                "attention.value": "self_attn.v_proj",
                "attention.output": "self_attn.out_proj",
                "attention_norm": "layer_norm1",
                "feedforward.up": "mlp.fc1",
                "feedforward.down": "mlp.fc2",
                "feedforward_norm": "layer_norm2",
            },
        ),
        Rename("vision.tower.norm", f"{_TOWER}.post_layernorm"),
        Rename("vision", "multi_modal_projector", {"first": "linear_1", "second": "linear_2"}),
        Rename("heads.lm", "language_model.lm_head"),
        Tie("language_model.lm_head.weight", "@embed_tokens.weight"),
        Ignore(f"{_TOWER}.embeddings.position_ids"),
        *(rule for rule in LLAMA_CHECKPOINT.weights if rule.theirs.startswith("@")),
    ),
    spellings={
        f"vision_tower.{part}.": f"{_TOWER}.{part}."
        for part in ("embeddings", "encoder", "pre_layrnorm", "post_layernorm")
    },
)

LLAVA = LLAMA2.derive(
    "llava",
    organisation="University of Wisconsin-Madison and Microsoft",
    paper="arXiv:2310.03744",
    objective="next token of answers about images",
    tokenizer="SentencePiece BPE with byte fallback, 32,000, and two tokens for image and padding",
    data="558,000 images with captions, then 665,000 conversations about images",
    context=2048,
    vision=Vision(336, 14, n_layers=24, d_model=1024, n_heads=16, d_ff=4096, token=32_000),
    sizes={
        "7B": dict(n_layers=32, d_model=4096, n_heads=32, d_ff=11_008, vocab_size=32_064),
        "13B": dict(n_layers=40, d_model=5120, n_heads=40, d_ff=13_824, vocab_size=32_064),
    },
    checkpoint=LLAVA_CHECKPOINT,
)
