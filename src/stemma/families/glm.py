"""GLM, which fills blanks of a text that it sees whole, and WuDao 2.0, its mixture of experts."""

from stemma.families.gpt import GPT2
from stemma.spec.parts import BlockPositions, Experts

_WORDPIECE = dict(vocab_size=30_522)
_BPE = dict(position=BlockPositions(1025, 1025), vocab_size=50_257)

# Megatron-LM's blocks, under a mask that the prefix opens. Both tables have one row more than a text has tokens.
GLM = GPT2.derive(
    "glm",
    year=2021,
    organisation="Tsinghua University and BAAI",
    paper="arXiv:2103.10360",
    objective="blanks of a text, in any order, each from left to right",
    tokenizer="WordPiece, 30,522; byte-level BPE, 50,257 for 2B and 10B",
    data="BooksCorpus and English Wikipedia; The Pile and CC-News for 2B and 10B",
    context=512,
    position=BlockPositions(513, 513),
    # The names of the last two are rounded to one digit: 1.92 and 9.88 billion.
    sizes={
        "base": dict(n_layers=12, d_model=768, n_heads=12, **_WORDPIECE),
        "large": dict(n_layers=24, d_model=1024, n_heads=16, **_WORDPIECE),
        "410M": dict(n_layers=30, d_model=1024, n_heads=16, **_WORDPIECE),
        "515M": dict(n_layers=30, d_model=1152, n_heads=18, **_WORDPIECE),
        "2B": dict(n_layers=36, d_model=2048, n_heads=32, **_BPE),
        "10B": dict(n_layers=48, d_model=4096, n_heads=64, **_BPE),
    },
    checkpoint=None,
)

# Published: 1.75 trillion parameters, FastMoE, and the data. All other numbers are ours, chosen to give that count;
# two experts a token is FastMoE's usual gate.
WUDAO_MOE = GLM.derive(
    "wudao-moe",
    organisation="BAAI",
    paper="WuDao 2.0, announced 2021; no paper",
    objective="not published",
    tokenizer="not published",
    data="1.2 TB of Chinese and 1.2 TB of English text; 2.5 TB of Chinese pictures with text",
    context=None,
    position=BlockPositions(1025, 1025),
    experts=Experts(n_experts=60, n_active=2),
    sizes={"1.75T": dict(n_layers=24, d_model=12_288, n_heads=96, vocab_size=50_000)},
)
