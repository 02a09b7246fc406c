"""BERT with fewer parameters: ALBERT shares its blocks, ELECTRA learns from every token."""

from typing import Any

from stemma.families.bert import BERT
from stemma.families.names import ACTIVATIONS, BERT_BODY, BERT_CONFIG, BERT_EMBEDDINGS, SUMMARY
from stemma.families.task_heads import CLASSIFIER, DENSE_CLASSIFIER, answering, choosing, classifying, tagging
from stemma.spec.ends import Embedding, MaskedLMHead, NextSentenceHead, Pooler, ReplacedTokenHead
from stemma.spec.mapping import Checkpoint, Constant, Fact, Key, Rename, Tie, Variant
from stemma.spec.parts import Plain
from stemma.spec.tasks import ClassifierHead
from stemma.spec.training import Dropout

_LAYER = "@encoder.albert_layer_groups.0.albert_layers.0"

ALBERT_CHECKPOINT = Checkpoint(
    model_type="albert",
    variants=(
        Variant("AlbertForPreTraining", (Pooler(), MaskedLMHead("gelu_tanh"), NextSentenceHead()), "albert."),
        Variant("AlbertForMaskedLM", (MaskedLMHead("gelu_tanh"),), "albert."),
        Variant("AlbertModel", (Pooler(),)),
        Variant("AlbertModel", ()),
    ),
    config=(
        *BERT_CONFIG,
        Key("embedding_size", "embedding.width", 128),
        Key("hidden_act", ("feedforward.activation", "heads.mlm.activation"), "gelu_new", ACTIVATIONS),
        Constant("num_hidden_groups", 1),
        Constant("inner_group_num", 1),
        Constant("net_structure_type", 0),
        *(Fact(name) for name in ("classifier_dropout_prob", "down_scale_factor", "gap_size", "num_memory_blocks")),
        Fact("pad_token_id", 0),
        Fact("bos_token_id", 2),
        Fact("eos_token_id", 3),
    ),
    weights=(
        Rename("embeddings.widening", "@encoder.embedding_hidden_mapping_in"),
        Rename("embeddings", "@embeddings", BERT_EMBEDDINGS),
        Rename(
            "encoder.blocks.0.attention",
            f"{_LAYER}.attention",
            {"query": "query", "key": "key", "value": "value", "output": "dense"},
        ),
        Rename("encoder.blocks.0.feedforward", _LAYER, {"up": "ffn", "down": "ffn_output"}),
        Rename(
            "encoder.blocks.0",
            _LAYER,
            {"attention_norm": "attention.LayerNorm", "feedforward_norm": "full_layer_layer_norm"},
        ),
        Rename("heads.pooler", "@pooler"),
        Rename("heads.nsp", "sop_classifier.classifier"),
        Rename(
            "heads.mlm",
            "predictions",
            {"dense": "dense", "norm": "LayerNorm", "bias": "decoder.bias", "weight": "decoder.weight"},
        ),
        Tie("predictions.decoder.weight", "@embeddings.word_embeddings.weight"),
        Tie("predictions.bias", "predictions.decoder.bias", written=True),
    ),
    tasks=(
        classifying("Albert", "albert.", ClassifierHead(), CLASSIFIER),
        choosing("Albert", "albert.", ClassifierHead(), CLASSIFIER),
        tagging("Albert", "albert."),
        answering("Albert", "albert."),
    ),
)

ALBERT = BERT.derive(
    "albert",
    year=2019,
    organisation="Google Research, TTIC",
    paper="arXiv:1909.11942",
    objective="masked n-grams and the order of two segments",
    tokenizer="SentencePiece unigram, 30,000",
    embedding=Embedding(segments=2, norm=True, width=128),
    shared_layers=True,
    feedforward=Plain("gelu_tanh"),
    heads=(Pooler(), MaskedLMHead("gelu_tanh"), NextSentenceHead()),
    dropout=Dropout(),
    sizes={
        "base": dict(n_layers=12, d_model=768, n_heads=12, d_ff=3072, vocab_size=30_000, heads=(Pooler(),)),
        "large": dict(n_layers=24, d_model=1024, n_heads=16, d_ff=4096, vocab_size=30_000, heads=(Pooler(),)),
        "xlarge": dict(n_layers=24, d_model=2048, n_heads=16, d_ff=8192, vocab_size=30_000, heads=(Pooler(),)),
        # Table 1 says 235M; what was released has 222.6M.
        "xxlarge": dict(n_layers=12, d_model=4096, n_heads=64, d_ff=16_384, vocab_size=30_000, heads=(Pooler(),)),
    },
    checkpoint=ALBERT_CHECKPOINT,
)

# BERT's tanh is GELU here; what a choice is scored by is the same, under other names.
_CLASSIFIER = ClassifierHead(reads="first", dense="gelu")
_SUMMARY = {"dense": "sequence_summary.summary", "score": "classifier"}
_SUMMARISED = (Constant("summary_type", "first"), Constant("summary_activation", "gelu"))

ELECTRA_CHECKPOINT = Checkpoint(
    model_type="electra",
    variants=(
        Variant("ElectraForPreTraining", (ReplacedTokenHead(),), "electra."),
        Variant("ElectraForMaskedLM", (MaskedLMHead(),), "electra."),
        Variant("ElectraModel", ()),
    ),
    config=(
        *BERT_CONFIG,
        Key("embedding_size", "embedding.width", 128, same_as="hidden_size"),
        Key("hidden_act", ("feedforward.activation", "heads.replaced.activation"), "gelu", ACTIVATIONS),
        *(Fact(name) for name in (*SUMMARY, "classifier_dropout")),
        Fact("pad_token_id", 0),
    ),
    weights=(
        *BERT_BODY,
        Rename("heads.replaced", "discriminator_predictions", {"dense": "dense", "score": "dense_prediction"}),
        Rename("heads.mlm", "generator_predictions", {"dense": "dense", "norm": "LayerNorm"}),
        Rename("heads.mlm", "generator_lm_head", {"weight": "weight", "bias": "bias"}),
        Tie("generator_lm_head.weight", "@embeddings.word_embeddings.weight"),
    ),
    tasks=(
        classifying("Electra", "electra.", _CLASSIFIER, DENSE_CLASSIFIER),
        choosing("Electra", "electra.", _CLASSIFIER, _SUMMARY, *_SUMMARISED),
        tagging("Electra", "electra."),
        answering("Electra", "electra."),
    ),
)


def _factorised(width: int, **sizes: Any) -> dict[str, Any]:
    """Sizes with a table of tokens of this width."""
    return dict(sizes, vocab_size=30_522, embedding=Embedding(segments=2, norm=True, width=width))


_GENERATOR = (MaskedLMHead("gelu"),)

# The generator is the same network, a quarter to a third as wide, with a head that predicts masked tokens; both share
# one table of tokens (section 3.2).
ELECTRA = BERT.derive(
    "electra",
    year=2020,
    organisation="Stanford University, Google Brain",
    paper="arXiv:2003.10555",
    objective="replaced tokens, told from those that a small masked language model drew",
    heads=(ReplacedTokenHead(),),
    sizes={
        "small discriminator": _factorised(128, n_layers=12, d_model=256, n_heads=4),
        "base discriminator": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=30_522),
        "large discriminator": dict(n_layers=24, d_model=1024, n_heads=16, vocab_size=30_522),
        "small generator": _factorised(128, n_layers=12, d_model=64, n_heads=1, heads=_GENERATOR),
        "base generator": _factorised(768, n_layers=12, d_model=256, n_heads=4, heads=_GENERATOR),
        "large generator": _factorised(1024, n_layers=24, d_model=256, n_heads=4, heads=_GENERATOR),
    },
    checkpoint=ELECTRA_CHECKPOINT,
)
