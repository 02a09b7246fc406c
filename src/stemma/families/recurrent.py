"""The recurrent ancestors: CoVe, ELMo and ULMFiT, which made pretraining the rule before Transformers did."""

from typing import Any

from stemma.spec.lineage import Family
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import (
    LSTM,
    Apart,
    Characters,
    Forward,
    Joined,
    ProjectedLSTM,
    RecurrentDropout,
    ScalarMix,
    TiedScores,
    Vectors,
    Words,
)

COVE = Family(
    name="cove",
    year=2017,
    organisation="Salesforce",
    paper="arXiv:1708.00107",
    objective="translation: the encoder of an attentional sequence-to-sequence model",
    tokenizer="words, as GloVe vectors (840B tokens, 300 wide)",
    data="WMT 2017 English to German, 7M sentence pairs",
    context=None,
    shape=Recurrent,
    traits=dict(
        tokens=Vectors(300),
        cell=LSTM(),
        directions=Joined(),
        heads=(),
        dropout=RecurrentDropout(input=0.2, hidden=0.2, output=0.2, locked=False),
    ),
    # The paper has no count; the released file is torch's nn.LSTM(300, 300, 2, bidirectional=True): 3,609,600 numbers.
    sizes={"MT-LSTM": dict(widths=(300, 300))},
)


def _elmo(width: int, d_projection: int, n_highway: int) -> dict[str, Any]:
    """A released size of ELMo: all have two layers and the same filters."""
    filters = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))
    return dict(
        tokens=Characters(d_projection, filters, n_highway),
        widths=(width, width),
        cell=ProjectedLSTM(d_projection, cell_clip=3.0, projection_clip=3.0),
    )


# The first size is the paper's; all three are released (allennlp.org/elmo) with the counts 93.6M, 28.0M and 13.6M.
# These leave out the softmax over 793,471 words, which was not released, and the mix, 4 numbers a task.
ELMO = COVE.derive(
    "elmo",
    year=2018,
    organisation="AI2",
    paper="arXiv:1802.05365",
    objective="next token and previous token, each from its own side alone",
    tokenizer="words, each spelt as at most 50 bytes of UTF-8",
    data="1B Word Benchmark, 800M tokens",
    directions=Apart(skip=True),
    heads=(ScalarMix(),),
    dropout=RecurrentDropout(input=0.1, hidden=0.1, output=0.1, locked=False),
    sizes={"original": _elmo(4096, 512, 2), "medium": _elmo(2048, 256, 1), "small": _elmo(1024, 128, 1)},
    **{name: part for name, part in _elmo(4096, 512, 2).items() if name != "widths"},
)

# AWD-LSTM (Merity et al. 2017) pretrained on WikiText-103. The paper names no vocabulary and no count: the one here is
# that of fastai's released model. With AWD-LSTM's own vocabularies, 10,000 and 33,278 words, it has the 24M and 33M
# parameters of Merity et al., tables 1 and 2. fastai later made the layers 1152 wide, for the sake of the hardware.
ULMFIT = COVE.derive(
    "ulmfit",
    year=2018,
    organisation="fast.ai",
    paper="arXiv:1801.06146",
    objective="next token",
    tokenizer="words, the 60,000 most frequent",
    data="WikiText-103, 103M tokens",
    tokens=Words(60_000, 400),
    directions=Forward(),
    heads=(TiedScores(),),
    dropout=RecurrentDropout(embedding=0.05, input=0.4, weight=0.5, hidden=0.3, output=0.4),
    sizes={"AWD-LSTM": dict(widths=(1150, 1150, 400)), "fastai": dict(widths=(1152, 1152, 400))},
)
