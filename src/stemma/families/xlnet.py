"""The permutation branch: XLNet."""

from stemma.families.bert import BERT
from stemma.families.names import ACTIVATIONS
from stemma.families.task_heads import SUMMARISED, answering, choosing, classifying, tagging
from stemma.spec.ends import Embedding, LanguageModelHead
from stemma.spec.mapping import Checkpoint, Constant, Fact, Key, Rename, Tie, Variant
from stemma.spec.parts import Bias, Permutation, RelativeSinusoidal
from stemma.spec.tasks import ClassifierHead
from stemma.spec.training import Dropout, Normal

_RATES = ("dropout.residual", "dropout.attention", "dropout.feedforward", "dropout.output")
_INERT = (
    # The width of a head follows from the others; how much is remembered is asked of each pass.
    "d_head",
    "mem_len",
    "reuse_len",
    "use_mems_eval",
    "use_mems_train",
    "n_token",
    "summary_type",
    "summary_use_proj",
    "summary_activation",
    "summary_last_dropout",
    "start_n_top",
    "end_n_top",
)

_CLASSIFIER = ClassifierHead(reads="last", dense="tanh")
_SUMMARY = (Constant("summary_type", "last"), Constant("summary_activation", "tanh"))

XLNET_CHECKPOINT = Checkpoint(
    model_type="xlnet",
    variants=(
        Variant("XLNetLMHeadModel", (LanguageModelHead(bias=True),), "transformer."),
        Variant("XLNetModel", ()),
    ),
    config=(
        Key("vocab_size", "vocab_size"),
        Key("d_model", "d_model"),
        Key("n_layer", "n_layers"),
        Key("n_head", "n_heads"),
        Key("d_inner", "d_ff"),
        Key("ff_activation", "feedforward.activation", "gelu", ACTIVATIONS),
        Key("layer_norm_eps", "norm.eps", 1e-12),
        Key("dropout", _RATES, 0.1),
        Key("initializer_range", "initialisation.std", 0.02),
        Key("tie_word_embeddings", "heads.lm.tied", True),
        Constant("attn_type", "bi"),
        Constant("bi_data", False),
        Constant("clamp_len", -1),
        Constant("same_length", False),
        Constant("untie_r", True),
        *(Fact(name) for name in _INERT),
        Fact("pad_token_id", 5),
    ),
    weights=(
        Rename("embeddings.token", "@word_embedding"),
        Rename("two_streams.masked", "@mask_emb"),
        Rename(
            "encoder.blocks.*.attention",
            "@layer.*.rel_attn",
            {"query.weight": "q", "key.weight": "k", "value.weight": "v", "relative.position_key.weight": "r"},
            transposed=True,
            by_head=True,
        ),
        Rename("encoder.blocks.*.attention", "@layer.*.rel_attn", {"output.weight": "o"}, by_head=True),
        Rename(
            "encoder.blocks.*.attention.relative",
            "@layer.*.rel_attn",
            {
                "content_bias": "r_w_bias",
                "position_bias": "r_r_bias",
                "segment_bias": "r_s_bias",
                "segment": "seg_embed",
            },
        ),
        Rename("encoder.blocks.*.feedforward", "@layer.*.ff", {"up": "layer_1", "down": "layer_2"}),
        Rename(
            "encoder.blocks.*",
            "@layer.*",
            {"attention_norm": "rel_attn.layer_norm", "feedforward_norm": "ff.layer_norm"},
        ),
        Rename("heads.lm", "lm_loss"),
        Tie("lm_loss.weight", "@word_embedding.weight"),
    ),
    tasks=(
        classifying("XLNet", "transformer.", _CLASSIFIER, SUMMARISED, *_SUMMARY),
        choosing("XLNet", "transformer.", _CLASSIFIER, SUMMARISED, *_SUMMARY),
        tagging("XLNet", "transformer."),
        answering("XLNet", "transformer.", "Simple"),
    ),
)

XLNET = BERT.derive(
    "xlnet",
    year=2019,
    organisation="Carnegie Mellon University and Google AI Brain",
    paper="arXiv:1906.08237",
    objective="permutation language modelling",
    tokenizer="SentencePiece unigram, cased, 32,000",
    data="BooksCorpus, English Wikipedia, Giga5, ClueWeb 2012-B, Common Crawl, 32.89B tokens",
    stacks=Permutation(),
    position=RelativeSinusoidal(segments=True),
    embedding=Embedding(),
    bias=Bias(inputs=False, output=False),
    heads=(LanguageModelHead(bias=True),),
    # The authors' code approximates GELU by tanh; the configurations of their published files say the exact one.
    dropout=Dropout(residual=0.1, attention=0.1, feedforward=0.1, output=0.1),
    initialisation=Normal(std=0.02),
    sizes={
        "base": dict(n_layers=12, d_model=768, n_heads=12, d_ff=3072, vocab_size=32_000),
        "large": dict(n_layers=24, d_model=1024, n_heads=16, d_ff=4096, vocab_size=32_000),
    },
    checkpoint=XLNET_CHECKPOINT,
)
