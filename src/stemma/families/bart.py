"""Denoising with an encoder and a decoder: BART."""

from stemma.families.seq2seq import FAIRSEQ_BODY, FAIRSEQ_CONFIG, FAIRSEQ_SCORES, TRANSFORMER
from stemma.families.task_heads import CLASSIFICATION_HEAD, answering, classifying
from stemma.spec.ends import Embedding, LanguageModelHead
from stemma.spec.mapping import Checkpoint, Constant, Fact, Key, Rename, Variant
from stemma.spec.parts import Learned, Plain
from stemma.spec.tasks import ClassifierHead
from stemma.spec.training import Normal

BART_CHECKPOINT = Checkpoint(
    model_type="bart",
    variants=(Variant("BartForConditionalGeneration", (LanguageModelHead(bias=True),), weights=FAIRSEQ_SCORES),),
    config=(
        *FAIRSEQ_CONFIG,
        # Their tables have two rows more.
        Key("max_position_embeddings", "position.max_positions", 1024, plus=2),
        Constant("normalize_embedding", True),
        Constant("static_position_embeddings", False),
        Key("init_std", "initialisation.std", 0.02),
        *(
            Fact(name)
            for name in (
                "classifier_dropout",
                "classif_dropout",
                "extra_pos_embeddings",
                "force_bos_token_to_be_generated",
            )
        ),
        Fact("bos_token_id", 0),
        Fact("pad_token_id", 1),
        Fact("eos_token_id", 2),
        Fact("decoder_start_token_id", 2),
    ),
    weights=(
        Rename("embeddings.position", "model.encoder.embed_positions"),
        Rename("embeddings.norm", "model.encoder.layernorm_embedding"),
        Rename("decoder_additions.position", "model.decoder.embed_positions"),
        Rename("decoder_additions.norm", "model.decoder.layernorm_embedding"),
        *FAIRSEQ_BODY,
    ),
    tasks=(
        classifying("Bart", "", ClassifierHead(reads="last", dense="tanh"), CLASSIFICATION_HEAD),
        answering("Bart", ""),
    ),
)

BART = TRANSFORMER.derive(
    "bart",
    year=2019,
    organisation="Facebook AI",
    paper="arXiv:1910.13461",
    objective="a text from one with spans replaced by single masks and sentences shuffled",
    tokenizer="byte-level BPE, 50,265",
    data="books, Wikipedia, news, OpenWebText and stories, 160 GB",
    context=1024,
    position=Learned(1026, offset=2),
    embedding=Embedding(norm=True),
    feedforward=Plain("gelu"),
    initialisation=Normal(std=0.02),
    sizes={
        "base": dict(n_layers=6, d_model=768, n_heads=12, d_ff=3072, vocab_size=50_265),
        "large": dict(n_layers=12, d_model=1024, n_heads=16, d_ff=4096, vocab_size=50_265),
    },
    checkpoint=BART_CHECKPOINT,
)
