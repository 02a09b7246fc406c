"""Models of GPT's shape that differ in language, corpus and size: CPM, HyperCLOVA, Jurassic-1.

Their checkpoints were not published, but for CPM's, which GPT-2's classes hold.
"""

from stemma.families.gpt import GPT2, GPT3
from stemma.spec.parts import Full

CPM = GPT2.derive(
    "cpm",
    year=2020,
    organisation="Tsinghua University, BAAI",
    paper="arXiv:2012.00413",
    tokenizer="SentencePiece unigram on segmented Chinese words, 30,000",
    data="Chinese encyclopedia, books, news, web and dialogue, 100 GB",
    sizes={
        "small": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=30_000),
        "medium": dict(n_layers=24, d_model=1024, n_heads=16, vocab_size=30_000),
        "2.6B (GPT-2 shape)": dict(n_layers=32, d_model=2560, n_heads=32, vocab_size=30_000),
    },
)

# Its table of sizes follows GPT-3's; whether half of its blocks are banded too was not published.
HYPERCLOVA = GPT3.derive(
    "hyperclova",
    year=2021,
    organisation="NAVER",
    paper="arXiv:2109.04650",
    tokenizer="morpheme-aware byte-level BPE, 51,200",
    data="Korean blogs, forums, news and web, 562B tokens",
    attention=Full(),
    sizes={
        # Head counts of the two smallest as in the paper's table 2.
        "137M": dict(n_layers=12, d_model=768, n_heads=16, vocab_size=51_200),
        "350M": dict(n_layers=24, d_model=1024, n_heads=16, vocab_size=51_200),
        "760M": dict(n_layers=24, d_model=1536, n_heads=16, vocab_size=51_200),
        "1.3B": dict(n_layers=24, d_model=2048, n_heads=16, vocab_size=51_200),
        "6.9B": dict(n_layers=32, d_model=4096, n_heads=32, vocab_size=51_200),
        "13B": dict(n_layers=40, d_model=5120, n_heads=40, vocab_size=51_200),
        "39B": dict(n_layers=48, d_model=8192, n_heads=64, vocab_size=51_200),
        "82B": dict(n_layers=64, d_model=10_240, n_heads=80, vocab_size=51_200),
    },
)

JURASSIC1 = GPT3.derive(
    "jurassic-1",
    year=2021,
    organisation="AI21 Labs",
    paper="Jurassic-1: Technical Details and Evaluation",
    tokenizer="SentencePiece unigram with phrases, 256,000",
    data="public text in English, 300B tokens",
    attention=Full(),
    sizes={
        "large": dict(n_layers=32, d_model=4096, n_heads=32, vocab_size=256_000),
        "jumbo": dict(n_layers=76, d_model=13_824, n_heads=96, vocab_size=256_000),
    },
)
