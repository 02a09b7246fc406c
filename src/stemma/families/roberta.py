"""BERT trained longer and without sentence pairs: RoBERTa, and XLM-R in a hundred languages."""

from stemma.families.bert import BERT
from stemma.families.names import ACTIVATIONS, BERT_BODY, BERT_CONFIG
from stemma.families.task_heads import CLASSIFIER, DENSE_CLASSIFIER, answering, choosing, classifying, tagging
from stemma.spec.ends import Embedding, MaskedLMHead, Pooler
from stemma.spec.mapping import Checkpoint, Fact, Key, Rename, Tie, Variant
from stemma.spec.parts import LayerNorm, Learned
from stemma.spec.tasks import ClassifierHead


def _checkpoint(model_type: str, name: str) -> Checkpoint:
    return Checkpoint(
        model_type=model_type,
        variants=(
            Variant(f"{name}ForMaskedLM", (MaskedLMHead(),), "roberta."),
            Variant(f"{name}Model", (Pooler(),)),
            Variant(f"{name}Model", ()),
        ),
        config=(
            *BERT_CONFIG,
            Key("hidden_act", "feedforward.activation", "gelu", ACTIVATIONS),
            Fact("classifier_dropout"),
            # Their code counts positions from the row after that of padding.
            Fact("pad_token_id", 1),
            Fact("bos_token_id", 0),
            Fact("eos_token_id", 2),
        ),
        weights=(
            *BERT_BODY,
            Rename(
                "heads.mlm",
                "lm_head",
                {"dense": "dense", "norm": "layer_norm", "bias": "decoder.bias", "weight": "decoder.weight"},
            ),
            Tie("lm_head.decoder.weight", "@embeddings.word_embeddings.weight"),
            Tie("lm_head.bias", "lm_head.decoder.bias", written=True),
        ),
        tasks=(
            classifying(name, "roberta.", ClassifierHead(reads="first", dense="tanh"), DENSE_CLASSIFIER),
            choosing(name, "roberta.", ClassifierHead(), CLASSIFIER),
            tagging(name, "roberta."),
            answering(name, "roberta."),
        ),
    )


_BASE = dict(n_layers=12, d_model=768, n_heads=12, d_ff=3072, heads=(Pooler(),))
_LARGE = dict(n_layers=24, d_model=1024, n_heads=16, d_ff=4096, heads=(Pooler(),))

ROBERTA = BERT.derive(
    "roberta",
    year=2019,
    organisation="Facebook AI, University of Washington",
    paper="arXiv:1907.11692",
    objective="masked language modelling, masks drawn anew each time",
    tokenizer="byte-level BPE, 50,265",
    data="books, Wikipedia, news, OpenWebText and stories, 160 GB",
    position=Learned(514, offset=2),
    embedding=Embedding(segments=1, norm=True),
    norm=LayerNorm(eps=1e-5),
    heads=(MaskedLMHead("gelu"),),
    sizes={"base": dict(_BASE, vocab_size=50_265), "large": dict(_LARGE, vocab_size=50_265)},
    checkpoint=_checkpoint("roberta", "Roberta"),
)

XLM_R = ROBERTA.derive(
    "xlm-r",
    organisation="Facebook AI",
    paper="arXiv:1911.02116",
    objective="masked language modelling in each language by itself",
    tokenizer="SentencePiece unigram, 250,002",
    data="CommonCrawl in 100 languages, 2.5 TB",
    sizes={"base": dict(_BASE, vocab_size=250_002), "large": dict(_LARGE, vocab_size=250_002)},
    checkpoint=_checkpoint("xlm-roberta", "XLMRoberta"),
)
