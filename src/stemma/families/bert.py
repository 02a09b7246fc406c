"""The encoder-only branch: BERT, and what differs from it in data, objective or vocabulary."""

from collections.abc import Iterable
from dataclasses import replace

from stemma.families.names import ACTIVATIONS, BERT_BODY, BERT_CONFIG, GGUF_FEEDFORWARD, GGUF_SIZES
from stemma.families.seq2seq import TRANSFORMER
from stemma.families.task_heads import CLASSIFIER, answering, choosing, classifying, tagging
from stemma.spec.ends import Embedding, MaskedLMHead, NextSentenceHead, Pooler, SpanBoundaryHead
from stemma.spec.mapping import Checkpoint, ConfigRule, Constant, Fact, Gguf, Key, Rename, Tie, Variant
from stemma.spec.parts import Encoder, LayerNorm, Learned, Plain
from stemma.spec.tasks import ClassifierHead
from stemma.spec.training import Dropout, Normal

_INERT = (
    "classifier_dropout",
    "directionality",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
)

BERT_WEIGHTS = (
    *BERT_BODY,
    Rename("heads.nsp", "cls.seq_relationship"),
    Rename(
        "heads.mlm",
        "cls.predictions",
        {
            "dense": "transform.dense",
            "norm": "transform.LayerNorm",
            "bias": "decoder.bias",
            "weight": "decoder.weight",
        },
    ),
    Tie("cls.predictions.decoder.weight", "@embeddings.word_embeddings.weight"),
    Tie("cls.predictions.bias", "cls.predictions.decoder.bias", written=True),
)

BERT_CHECKPOINT = Checkpoint(
    model_type="bert",
    variants=(
        Variant("BertForPreTraining", (Pooler(), MaskedLMHead(), NextSentenceHead()), "bert."),
        Variant("BertForMaskedLM", (MaskedLMHead(),), "bert."),
        Variant("BertForNextSentencePrediction", (Pooler(), NextSentenceHead()), "bert."),
        Variant("BertModel", (Pooler(),)),
        Variant("BertModel", ()),
    ),
    config=(
        *BERT_CONFIG,
        Key("hidden_act", ("feedforward.activation", "heads.mlm.activation"), "gelu", ACTIVATIONS),
        *(Fact(name) for name in _INERT),
        Fact("pad_token_id", 0),
    ),
    weights=BERT_WEIGHTS,
    tasks=(
        classifying("Bert", "bert.", ClassifierHead(), CLASSIFIER),
        choosing("Bert", "bert.", ClassifierHead(), CLASSIFIER),
        tagging("Bert", "bert."),
        answering("Bert", "bert."),
    ),
    gguf=Gguf(
        architecture="bert",
        heads=(),
        config=(
            *GGUF_SIZES,
            Key("context_length", "position.max_positions"),
            Key("attention.layer_norm_epsilon", "norm.eps"),
            Constant("attention.causal", False),
            *(Fact(name) for name in ("pooling_type", "vocab_size")),
        ),
        weights=(
            Rename(
                "embeddings",
                "",
                {
                    "token": "token_embd",
                    "position": "position_embd",
                    "segment": "token_types",
                    "norm": "token_embd_norm",
                },
            ),
            Rename(
                "encoder.blocks.*.attention",
                "blk.*",
                {
                    "query": "attn_q",
                    "key": "attn_k",
                    "value": "attn_v",
                    "output": "attn_output",
                },
            ),
            Rename("encoder.blocks.*.feedforward", "blk.*", GGUF_FEEDFORWARD),
            Rename(
                "encoder.blocks.*",
                "blk.*",
                {
                    "attention_norm": "attn_output_norm",
                    "feedforward_norm": "layer_output_norm",
                },
            ),
        ),
    ),
    spellings={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)


def _ernie(*tasks: ConfigRule) -> Checkpoint:
    """ERNIE's folders, which are BERT's with another name and the rules of the tasks' vectors."""
    return Checkpoint(
        model_type="ernie",
        variants=_ernies(BERT_CHECKPOINT.variants),
        config=(*BERT_CHECKPOINT.config, *tasks),
        weights=BERT_WEIGHTS,
        tasks=_ernies(BERT_CHECKPOINT.tasks),
    )


def _ernies(classes: Iterable[Variant]) -> tuple[Variant, ...]:
    """BERT's classes under ERNIE's names."""
    return tuple(
        replace(one, name=one.name.replace("Bert", "Ernie"), prefix=one.prefix.replace("bert", "ernie"))
        for one in classes
    )


_BASE = dict(n_layers=12, d_model=768, n_heads=12, d_ff=3072, vocab_size=30_522)
_LARGE = dict(n_layers=24, d_model=1024, n_heads=16, d_ff=4096, vocab_size=30_522)

BERT = TRANSFORMER.derive(
    "bert",
    year=2018,
    organisation="Google AI Language",
    paper="arXiv:1810.04805",
    objective="masked language modelling and next sentence prediction",
    tokenizer="WordPiece, 30,522",
    data="BooksCorpus and English Wikipedia, 3.3B words",
    context=512,
    stacks=Encoder(),
    position=Learned(512),
    embedding=Embedding(segments=2, norm=True),
    norm=LayerNorm(eps=1e-12),
    feedforward=Plain("gelu"),
    heads=(Pooler(), MaskedLMHead("gelu"), NextSentenceHead()),
    dropout=Dropout(residual=0.1, attention=0.1),
    initialisation=Normal(std=0.02, truncated=True),
    # The published counts leave out the two heads that only pretraining uses.
    sizes={
        "base": dict(_BASE, heads=(Pooler(),)),
        "large": dict(_LARGE, heads=(Pooler(),)),
        "base + MLM and NSP heads": _BASE,
    },
    checkpoint=BERT_CHECKPOINT,
)

MBERT = BERT.derive(
    "mbert",
    paper="github.com/google-research/bert/blob/master/multilingual.md",
    tokenizer="WordPiece, 119,547 of 104 languages",
    data="Wikipedia in 104 languages, small ones drawn more often",
    sizes={"base": dict(_BASE, vocab_size=119_547, heads=(Pooler(),))},
)

SPANBERT = BERT.derive(
    "spanbert",
    year=2019,
    organisation="University of Washington, Facebook AI",
    paper="arXiv:1907.10529",
    objective="masked spans and span boundaries, on single segments",
    tokenizer="WordPiece, 28,996 cased",
    heads=(MaskedLMHead("gelu"), SpanBoundaryHead()),
    sizes={
        "base": dict(_BASE, vocab_size=28_996, heads=(Pooler(),)),
        "large": dict(_LARGE, vocab_size=28_996, heads=(Pooler(),)),
    },
)

SBERT = BERT.derive(
    "sbert",
    year=2019,
    organisation="UKP Lab, TU Darmstadt",
    paper="arXiv:1908.10084",
    objective="entailment of sentence pairs by two towers that share their parameters; mean pooling",
    data="what BERT saw, then SNLI and MultiNLI, 1M sentence pairs",
    context=128,
    sizes={"base": dict(_BASE, heads=()), "large": dict(_LARGE, heads=())},
)

ERNIE = BERT.derive(
    "ernie",
    year=2019,
    organisation="Baidu",
    paper="arXiv:1904.09223",
    objective="masked words, phrases and entities; dialogue",
    tokenizer="WordPiece, 18,000",
    data="Chinese Wikipedia, Baidu Baike, news and Tieba, 173M sentences",
    feedforward=Plain("relu"),
    heads=(Pooler(), MaskedLMHead("relu"), NextSentenceHead()),
    sizes={"base": dict(_BASE, vocab_size=18_000, heads=(Pooler(),))},
    checkpoint=_ernie(Constant("use_task_id", False), Fact("task_type_vocab_size")),
)

ERNIE2 = ERNIE.derive(
    "ernie2",
    year=2019,
    paper="arXiv:1907.12412",
    objective="eight tasks on words, structure and meaning, learned one after another",
    tokenizer="WordPiece, 30,522",
    data="Wikipedia, BookCorpus, Reddit and Discovery relations, 7.9B tokens of English",
    feedforward=Plain("gelu"),
    heads=(Pooler(), MaskedLMHead("gelu"), NextSentenceHead()),
    embedding=Embedding(segments=4, tasks=16, norm=True),
    sizes={"base": dict(_BASE, heads=(Pooler(),)), "large": dict(_LARGE, heads=(Pooler(),))},
    checkpoint=_ernie(Constant("use_task_id", True, written=True), Key("task_type_vocab_size", "embedding.tasks", 3)),
)
