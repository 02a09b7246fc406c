"""The encoder-only branch: BERT."""

from stemma.families.names import ACTIVATIONS, GGUF_FEEDFORWARD, GGUF_SIZES
from stemma.families.seq2seq import TRANSFORMER
from stemma.spec.mapping import Checkpoint, Constant, Fact, Gguf, Ignore, Key, Rename, Tie, Variant
from stemma.spec.parts import (
    Dropout,
    Embedding,
    Encoder,
    LayerNorm,
    Learned,
    MaskedLMHead,
    NextSentenceHead,
    Normal,
    Plain,
    Pooler,
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
        Key("vocab_size", "vocab_size"),
        Key("hidden_size", "d_model"),
        Key("num_hidden_layers", "n_layers"),
        Key("num_attention_heads", "n_heads"),
        Key("intermediate_size", "d_ff"),
        Key("hidden_act", ("feedforward.activation", "heads.mlm.activation"), "gelu", ACTIVATIONS),
        Key("max_position_embeddings", "position.max_positions"),
        Key("type_vocab_size", "embedding.segments", 2),
        Key("layer_norm_eps", "norm.eps", 1e-12),
        Key("hidden_dropout_prob", "dropout.residual", 0.1),
        Key("attention_probs_dropout_prob", "dropout.attention", 0.1),
        Key("initializer_range", "initialisation.std", 0.02),
        Key("tie_word_embeddings", "heads.mlm.tied", True),
        Constant("position_embedding_type", "absolute"),
        Constant("is_decoder", False),
        Constant("add_cross_attention", False),
        *(
            Fact(name)
            for name in (
                "classifier_dropout",
                "gradient_checkpointing",
                "directionality",
                "pooler_fc_size",
                "pooler_num_attention_heads",
                "pooler_num_fc_layers",
                "pooler_size_per_head",
                "pooler_type",
            )
        ),
        Fact("pad_token_id", 0),
    ),
    weights=(
        Rename(
            "embeddings",
            "@embeddings",
            {
                "token": "word_embeddings",
                "position": "position_embeddings",
                "segment": "token_type_embeddings",
                "norm": "LayerNorm",
            },
        ),
        Rename(
            "encoder.blocks.*.attention",
            "@encoder.layer.*.attention",
            {
                "query": "self.query",
                "key": "self.key",
                "value": "self.value",
                "output": "output.dense",
            },
        ),
        Rename(
            "encoder.blocks.*.feedforward", "@encoder.layer.*", {"up": "intermediate.dense", "down": "output.dense"}
        ),
        Rename(
            "encoder.blocks.*",
            "@encoder.layer.*",
            {
                "attention_norm": "attention.output.LayerNorm",
                "feedforward_norm": "output.LayerNorm",
            },
        ),
        Rename("heads.pooler", "@pooler.dense"),
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
        Ignore("@embeddings.position_ids"),
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

_BASE = dict(n_layers=12, d_model=768, n_heads=12, d_ff=3072, vocab_size=30_522)

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
        "large": dict(n_layers=24, d_model=1024, n_heads=16, d_ff=4096, vocab_size=30_522, heads=(Pooler(),)),
        "base + MLM and NSP heads": _BASE,
    },
    checkpoint=BERT_CHECKPOINT,
)
