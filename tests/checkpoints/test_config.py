"""Configurations both ways, and architectures as JSON."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers import GenerationConfig, PretrainedConfig

from stemma.checkpoints import decode_architecture, encode_architecture
from stemma.checkpoints.config import differences, read_config, write_config
from stemma.checkpoints.inert import INERT, MET_ANEW
from stemma.errors import CheckpointError
from stemma.families import LLAMA, T5, catalogue, family
from stemma.spec import Architecture, Bias, Gated, LanguageModelHead, Plain
from stemma.spec.mapping import ConfigRule, Constant, Fact, Key

from ..tiny import shaped

STORED = [one for one in catalogue() if one.checkpoint]
HEADS = (LanguageModelHead(tied=False),)
SIZES: dict[str, Any] = dict(
    hidden_size=24, intermediate_size=20, num_hidden_layers=2, num_attention_heads=6, vocab_size=31
)


def read(**changes: Any) -> tuple[Architecture, dict[str, Any]]:
    assert LLAMA.checkpoint is not None
    return read_config(SIZES | changes, LLAMA.checkpoint.config, LLAMA, HEADS)


def test_defaults_are_theirs() -> None:
    own, facts = read()
    theirs = transformers.LlamaConfig(**SIZES)
    assert (own.n_kv_heads, own.d_head, own.norm.eps) == (
        theirs.num_key_value_heads,
        theirs.head_dim,
        theirs.rms_norm_eps,
    )
    assert own.position.base == theirs.rope_parameters["rope_theta"]
    assert facts == {}


def test_the_newer_spelling_wins_and_nests_are_reached() -> None:
    own, _ = read(rope_theta=5.0, rope_parameters={"rope_theta": 7, "rope_type": "default"})
    assert own.position.base == 7.0
    with pytest.raises(CheckpointError) as caught:
        read(rope_parameters={"rope_type": "yarn", "factor": 4.0})
    assert {fault.field for fault in caught.value.faults} == {"rope_parameters.rope_type", "rope_parameters.factor"}


def test_two_keys_for_one_field_must_agree() -> None:
    marian = catalogue()[0]
    assert marian.checkpoint is not None
    config = dict(
        vocab_size=9, d_model=8, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=8, decoder_ffn_dim=8,
        encoder_attention_heads=2, decoder_attention_heads=4,
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="decoder_attention_heads=4 contradicts encoder_attention_heads=2"):
        read_config(config, marian.checkpoint.config, marian, (LanguageModelHead(),))


def test_a_whole_part_is_chosen_by_name() -> None:
    assert T5.checkpoint is not None
    config = dict(vocab_size=9, d_model=8, d_ff=8, num_layers=1, num_heads=2)
    for name, part in {"relu": Plain("relu"), "gated-gelu": Gated("gelu_tanh")}.items():
        own, _ = read_config(config | {"feed_forward_proj": name}, T5.checkpoint.config, T5, (LanguageModelHead(),))
        assert own.feedforward == part


def test_every_entry_of_transformers_itself_is_known_to_be_harmless() -> None:
    theirs = set(PretrainedConfig().to_dict()) | set(GenerationConfig().to_dict())
    assert {name for name in theirs if not name.startswith("_")} - INERT - MET_ANEW == set()


@pytest.mark.parametrize("kind", sorted({one.checkpoint.model_type for one in STORED}))
def test_a_default_configuration_of_transformers_is_read(kind: str) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[kind]().to_dict()
    read, others = [], []
    for one in STORED:
        if one.checkpoint.model_type != kind:
            continue
        given = config
        if (vision := one.traits["vision"]) is not None:
            # Their default has no row for the id that stands for patches.
            given = {**config, "text_config": {**config["text_config"], "vocab_size": vision.token + 1}}
        heads = one.checkpoint.variants[0].heads
        try:
            own, facts = read_config(given, one.checkpoint.config, one, heads)
        except CheckpointError as error:
            # Another family of this type has the other layout.
            others.append(error)
            continue
        read.append(one)
        again = write_config(own, one.checkpoint.config, one, heads, facts)
        theirs = CONFIG_MAPPING[kind].from_dict(again).to_dict()
        changed = {name for name, value in given.items() if value is not None and theirs[name] != value}
        assert changed <= MET_ANEW | {"scale_decoder_outputs"}
    assert read
    assert all("no other meaning is known" in fault.rule for error in others for fault in error.faults)


# Entries of published models' config.json, as their makers wrote them.
PUBLISHED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert-base-uncased": (
        "bert",
        "base",
        dict(
            architectures=["BertForMaskedLM"], attention_probs_dropout_prob=0.1, gradient_checkpointing=False,
            hidden_act="gelu", hidden_dropout_prob=0.1, hidden_size=768, initializer_range=0.02, intermediate_size=3072,
            layer_norm_eps=1e-12, max_position_embeddings=512, model_type="bert", num_attention_heads=12,
            num_hidden_layers=12, pad_token_id=0, position_embedding_type="absolute", type_vocab_size=2, use_cache=True,
            transformers_version="4.6.0.dev0", vocab_size=30522,
        ),
    ),
    "gpt2": (
        "gpt2",
        "117M",
        dict(
            activation_function="gelu_new", architectures=["GPT2LMHeadModel"], attn_pdrop=0.1, bos_token_id=50256,
            embd_pdrop=0.1, eos_token_id=50256, initializer_range=0.02, layer_norm_epsilon=1e-5, model_type="gpt2",
            n_ctx=1024, n_embd=768, n_head=12, n_layer=12, n_positions=1024, resid_pdrop=0.1, summary_activation=None,
            summary_first_dropout=0.1, summary_proj_to_labels=True, summary_type="cls_index", summary_use_proj=True,
            task_specific_params={"text-generation": {"do_sample": True, "max_length": 50}}, vocab_size=50257,
        ),
    ),
    "t5-small": (
        "t5",
        "small",
        dict(
            architectures=["T5ForConditionalGeneration"], d_ff=2048, d_kv=64, d_model=512, decoder_start_token_id=0,
            dropout_rate=0.1, eos_token_id=1, initializer_factor=1.0, is_encoder_decoder=True, layer_norm_epsilon=1e-6,
            model_type="t5", n_positions=512, num_heads=8, num_layers=6, output_past=True, pad_token_id=0,
            relative_attention_num_buckets=32, task_specific_params={}, use_cache=True, vocab_size=32128,
        ),
    ),
    "t5-v1_1-small": (
        "t5-v1.1",
        "small",
        dict(
            architectures=["T5ForConditionalGeneration"], d_ff=1024, d_kv=64, d_model=512, decoder_start_token_id=0,
            dropout_rate=0.1, eos_token_id=1, feed_forward_proj="gated-gelu", initializer_factor=1.0,
            is_encoder_decoder=True, layer_norm_epsilon=1e-6, model_type="t5", num_decoder_layers=8, num_heads=6,
            num_layers=8, output_past=True, pad_token_id=0, relative_attention_num_buckets=32,
            tie_word_embeddings=False, use_cache=True, vocab_size=32128,
        ),
    ),
    "Llama-2-7b-hf": (
        "llama2",
        "7B",
        dict(
            _name_or_path="meta-llama/Llama-2-7b-hf", architectures=["LlamaForCausalLM"], bos_token_id=1,
            eos_token_id=2, hidden_act="silu", hidden_size=4096, initializer_range=0.02, intermediate_size=11008,
            max_position_embeddings=4096, model_type="llama", num_attention_heads=32, num_hidden_layers=32,
            num_key_value_heads=32, pretraining_tp=1, rms_norm_eps=1e-5, rope_scaling=None, torch_dtype="float16",
            tie_word_embeddings=False, transformers_version="4.31.0.dev0", use_cache=True, vocab_size=32000,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_are_those_of_the_tree(name: str) -> None:
    one_name, size, config = PUBLISHED[name]
    one = family(one_name)
    assert one.checkpoint is not None
    heads = one.checkpoint.variants[0].heads
    own, facts = read_config(config, one.checkpoint.config, one, heads)
    assert differences(one.build(size, heads=own.heads), own) == []
    assert {getattr(head, "scaled", False) for head in own.heads} == {name == "t5-small"}
    assert facts.keys() <= config.keys()


def test_a_translation_model_of_opus_is_read() -> None:
    marian = catalogue()[0]
    assert marian.checkpoint is not None
    config = dict(
        _num_labels=3, activation_dropout=0.0, activation_function="swish", add_bias_logits=False,
        add_final_layer_norm=False, architectures=["MarianMTModel"], attention_dropout=0.0, bad_words_ids=[[58100]],
        bos_token_id=0, classif_dropout=0.0, classifier_dropout=0.0, d_model=512, decoder_attention_heads=8,
        decoder_ffn_dim=2048, decoder_layerdrop=0.0, decoder_layers=6, decoder_start_token_id=58100,
        decoder_vocab_size=58101, dropout=0.1, encoder_attention_heads=8, encoder_ffn_dim=2048, encoder_layerdrop=0.0,
        encoder_layers=6, eos_token_id=0, forced_eos_token_id=0, id2label={"0": "LABEL_0"}, init_std=0.02,
        is_encoder_decoder=True, label2id={"LABEL_0": 0}, max_length=512, max_position_embeddings=512,
        model_type="marian", normalize_before=False, normalize_embedding=False, num_beams=6, num_hidden_layers=6,
        pad_token_id=58100, scale_embedding=True, share_encoder_decoder_embeddings=True,
        static_position_embeddings=True, use_cache=True, vocab_size=58101,
    )  # fmt: skip
    own, _ = read_config(config, marian.checkpoint.config, marian, marian.checkpoint.variants[0].heads)
    assert (own.n_layers, own.d_ff, own.feedforward, own.embedding.scaled) == (6, 2048, Plain("silu"), True)


def test_fields_with_one_key_must_hold_one_value() -> None:
    assert LLAMA.checkpoint is not None
    sizes = dict(n_layers=1, d_model=8, n_heads=2, vocab_size=11)
    own = LLAMA.build(**sizes, bias=Bias(inputs=True, output=False, feedforward=False))
    with pytest.raises(CheckpointError, match=r"bias\.output=False cannot be told in this format, which means True"):
        write_config(own, LLAMA.checkpoint.config, LLAMA, HEADS, {})


def test_a_value_without_a_name_of_theirs_is_an_error() -> None:
    own = LLAMA.build(n_layers=1, d_model=8, n_heads=2, vocab_size=11, feedforward=Gated("relu"))
    rules = (Key("act", "feedforward.activation", "silu", {"silu": "silu", "swish": "silu"}),)
    with pytest.raises(CheckpointError, match=r"feedforward\.activation='relu' has no name in act; use 'silu'"):
        write_config(own, rules, LLAMA, HEADS, {})


RULES: tuple[ConfigRule, ...] = (
    Key("width", "d_model"),
    Key("depth", "n_layers"),
    Key("heads", "n_heads"),
    Key("words", "vocab_size"),
    Key("tied", "heads.lm.tied", True),
    Key("deviation", "initialisation.std", 0.02),
    Constant("kind", "plain", also=("simple",), written=True),
    Fact("colour", "red"),
    Fact("taste"),
)


def test_facts_constants_and_fields_that_are_not_there() -> None:
    t5 = family("t5")
    config = dict(width=8, depth=1, heads=2, words=9, kind="simple", taste=None, tied=False, deviation=0.5)
    own, facts = read_config(config, RULES, t5, ())
    assert facts == {"taste": None, "tied": False, "deviation": 0.5}
    again = write_config(own, RULES, t5, (), facts)
    assert again == config | {"kind": "plain", "colour": "red"}


def test_ignored_keys_are_passed_over() -> None:
    t5 = family("t5")
    config = dict(width=8, depth=1, heads=2, words=9, sound=1, smell=2)
    assert read_config(config, RULES, t5, (), ignore=("s*",))[0].d_model == 8
    with pytest.raises(CheckpointError) as caught:
        read_config(config, RULES, t5, ())
    assert [fault.field for fault in caught.value.faults] == ["sound", "smell"]


_ROTARY = {"kind": "Rotary", "base": 2.0, "fraction": 1.0, "layout": "halves"}


@pytest.mark.parametrize("one", shaped(Architecture), ids=lambda one: one.name)
def test_an_architecture_survives_json(one: Any) -> None:
    for size in one.sizes:
        own = one.build(size)
        assert decode_architecture(json.loads(json.dumps(encode_architecture(own)))) == own
    assert not differences(own, own)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"position": {**_ROTARY, "base": "x"}}, "architecture.position.base"),
        ({"position": {**_ROTARY, "base": float("nan")}}, "architecture.position.base"),
        ({"position": {"kind": "Rotary", "fraction": 1.0, "layout": "halves"}}, "architecture.position.base"),
        ({"position": {**_ROTARY, "scale": 1}}, "architecture.position.scale"),
        ({"position": {"kind": "Compass"}}, "architecture.position.kind"),
        ({"position": {"kind": ["Rotary"]}}, "architecture.position.kind"),
        (
            {"heads": [{"kind": "LanguageModelHead", "tied": 1, "bias": False, "scaled": False}]},
            "architecture.heads[0].tied",
        ),
        ({"position": {"kind": "Sinusoidal", "layout": "upside down"}}, "architecture.position.layout"),
        ({"attention_scale": "big"}, "architecture.attention_scale"),
        ({"colour": 1}, "architecture.colour"),
        ({"n_layers": "two"}, "n_layers"),
        ({"norm": 3}, "norm"),
    ],
)
def test_a_damaged_architecture_is_an_error(changes: dict[str, Any], field: str) -> None:
    values = encode_architecture(LLAMA.build(n_layers=1, d_model=8, n_heads=2, vocab_size=11)) | changes
    with pytest.raises(CheckpointError) as caught:
        decode_architecture(values)
    assert [fault.field for fault in caught.value.faults] == [field]


def test_all_that_is_missing_is_named() -> None:
    with pytest.raises(CheckpointError) as caught:
        decode_architecture({"n_layers": 1})
    assert {"architecture.d_model", "architecture.position"} <= {fault.field for fault in caught.value.faults}


entries = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(data=st.data())
def test_any_configuration_is_read_or_is_our_error(data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(STORED))
    rules = one.checkpoint.config
    names = sorted({name for rule in rules for name in (rule.theirs, rule.theirs.partition(".")[0])})
    config = data.draw(st.dictionaries(st.sampled_from(names), entries | st.integers(1, 64)))
    with suppress(CheckpointError):
        read_config(config, rules, one, one.checkpoint.variants[0].heads)
