"""One encoder for many languages, told apart by vectors: XLM."""

from stemma.families.bert import BERT
from stemma.families.names import SUMMARY
from stemma.families.task_heads import answering, classifying, tagging
from stemma.spec.ends import Embedding, MaskedLMHead
from stemma.spec.mapping import Checkpoint, Constant, Fact, Ignore, Key, Rename, Tie, Variant
from stemma.spec.tasks import ClassifierHead

_INERT = (
    *SUMMARY,
    "embed_init_std",
    "end_n_top",
    "id2lang",
    "lang2id",
    "lang_id",
    "mask_index",
    "mask_token_id",
    "max_vocab",
    "min_count",
    "same_enc_dec",
    "share_inout_emb",
    "start_n_top",
    "unk_index",
    "bos_index",
    "eos_index",
    "pad_index",
)

XLM_CHECKPOINT = Checkpoint(
    model_type="xlm",
    variants=(
        Variant("XLMWithLMHeadModel", (MaskedLMHead(dense=False),), "transformer."),
        Variant("XLMModel", ()),
    ),
    config=(
        Key("vocab_size", "vocab_size", also=("n_words",)),
        Key("emb_dim", "d_model"),
        Key("n_layers", "n_layers"),
        Key("n_heads", "n_heads"),
        Key("dropout", "dropout.residual", 0.1),
        Key("attention_dropout", "dropout.attention", 0.1),
        Key("gelu_activation", "feedforward.activation", True, {True: "gelu", False: "relu"}),
        Key("n_langs", "embedding.languages", 1, zero=1),
        Key("max_position_embeddings", "position.max_positions", 512),
        Key("layer_norm_eps", "norm.eps", 1e-12),
        Key("init_std", "initialisation.std", 0.02),
        Key("tie_word_embeddings", "heads.mlm.tied", True),
        Constant("use_lang_emb", True),
        Constant("sinusoidal_embeddings", False),
        Constant("causal", False),
        Constant("asm", False),
        Constant("is_encoder", True),
        Constant("attention_setting", "v1"),
        *(Fact(name) for name in _INERT),
        Fact("bos_token_id", 0),
        Fact("eos_token_id", 1),
        Fact("pad_token_id", 2),
    ),
    weights=(
        Rename(
            "embeddings",
            "@",
            {
                "token": "embeddings",
                "position": "position_embeddings",
                "language": "lang_embeddings",
                "norm": "layer_norm_emb",
            },
        ),
        Rename(
            "encoder.blocks.*.attention",
            "@attentions.*",
            {"query": "q_lin", "key": "k_lin", "value": "v_lin", "output": "out_lin"},
        ),
        Rename("encoder.blocks.*.feedforward", "@ffns.*", {"up": "lin1", "down": "lin2"}),
        Rename("encoder.blocks.*.attention_norm", "@layer_norm1.*"),
        Rename("encoder.blocks.*.feedforward_norm", "@layer_norm2.*"),
        Rename("heads.mlm", "pred_layer.proj", {"weight": "weight", "bias": "bias"}),
        Tie("pred_layer.proj.weight", "@embeddings.weight"),
        Ignore("@position_ids"),
    ),
    # What scores their choices maps the scores of classes once more: none of ours does.
    tasks=(
        classifying(
            "XLM",
            "transformer.",
            ClassifierHead(reads="first"),
            {"score": "sequence_summary.summary"},
            Constant("summary_type", "first"),
            Constant("summary_activation", None),
        ),
        tagging("XLM", "transformer."),
        answering("XLM", "transformer.", "Simple"),
    ),
)

XLM = BERT.derive(
    "xlm",
    year=2019,
    organisation="Facebook AI",
    paper="arXiv:1901.07291",
    objective="masked language modelling, and on pairs of translated sentences",
    tokenizer="BPE shared by all languages, 30,145 to 200,000",
    data="Wikipedia and parallel text in 15 languages; Wikipedia alone for English and for 100 languages",
    embedding=Embedding(norm=True),
    heads=(MaskedLMHead(dense=False),),
    sizes={
        "mlm-en-2048": dict(n_layers=12, d_model=2048, n_heads=16, vocab_size=30_145),
        "mlm-tlm-xnli15-1024": dict(
            n_layers=12, d_model=1024, n_heads=8, vocab_size=95_000, embedding=Embedding(languages=15, norm=True)
        ),
        "mlm-100-1280": dict(n_layers=16, d_model=1280, n_heads=16, vocab_size=200_000),
    },
    checkpoint=XLM_CHECKPOINT,
)
