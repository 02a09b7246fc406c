"""ERNIE 3.0 (Wenxin): one universal stack, and a small one on it for each of two kinds of tasks."""

from stemma.families.bert import ERNIE2
from stemma.spec.ends import Embedding, LanguageModelHead, TaskModules
from stemma.spec.parts import Decoder, Learned

# Not published: the vocabulary (that of the released small models is taken), what joins the two widths, and how
# positions enter. The paper builds on Transformer-XL, but with its maps of distances there would be 10.8 billion.
ERNIE3 = ERNIE2.derive(
    "ernie3",
    year=2021,
    organisation="Baidu",
    paper="arXiv:2107.02137",
    objective="masked words and phrases, next token, order and distance of sentences, text with a knowledge graph",
    tokenizer="WordPiece, 40,000",
    data="4 TB of Chinese text and a knowledge graph, 375B tokens",
    context=512,
    stacks=Decoder(),
    position=Learned(512),
    embedding=Embedding(norm=True),
    heads=(LanguageModelHead(),),
    modules=TaskModules(n_layers=12, d_model=768, n_heads=12, d_ff=3072),
    sizes={"10B": dict(n_layers=48, d_model=4096, n_heads=64, vocab_size=40_000)},
    checkpoint=None,
)
