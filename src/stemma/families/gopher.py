"""Gopher: GPT-2 with RMSNorm and relative positions."""

from stemma.families.gpt import GPT2
from stemma.spec.parts import RelativeSinusoidal, RMSNorm
from stemma.spec.training import Dropout, Normal

# Table 1 names the sizes by what is learned, where input and output share one table and each block has a map of
# sinusoids beside its twelve of d_model by d_model: this makes 43.7M, 116.7M, 417.4M, 1.37B, 7.11B and 279.7B, of which
# 1.37B is called 1.4B. Offsets of linear maps and first values are not published: they are those of GPT-2.
GOPHER = GPT2.derive(
    "gopher",
    year=2021,
    organisation="DeepMind",
    paper="arXiv:2112.11446",
    tokenizer="SentencePiece with byte fallback, 32,000",
    data="MassiveText, 300B tokens of its 10.5 TB: web pages, books, news, code, Wikipedia",
    context=2048,
    position=RelativeSinusoidal(),
    norm=RMSNorm(),
    dropout=Dropout(),
    initialisation=Normal(std=0.02, shrink_residual=True),
    sizes={
        "280B": dict(n_layers=80, d_model=16_384, n_heads=128, vocab_size=32_000),
        "44M": dict(n_layers=8, d_model=512, n_heads=16, vocab_size=32_000),
        "117M": dict(n_layers=12, d_model=768, n_heads=12, vocab_size=32_000),
        "417M": dict(n_layers=12, d_model=1536, n_heads=12, vocab_size=32_000),
        "1.4B": dict(n_layers=24, d_model=2048, n_heads=16, vocab_size=32_000),
        "7.1B": dict(n_layers=32, d_model=4096, n_heads=32, vocab_size=32_000),
    },
    checkpoint=None,
)
