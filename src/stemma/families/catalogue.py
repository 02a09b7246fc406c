"""Every family that stands in the tree."""

from stemma.errors import Fault, SpecError
from stemma.families.albert import ALBERT, ELECTRA
from stemma.families.bart import BART
from stemma.families.bert import BERT, ERNIE, ERNIE2, MBERT, SBERT, SPANBERT
from stemma.families.ernie import ERNIE3
from stemma.families.glm import GLM, WUDAO_MOE
from stemma.families.gopher import GOPHER
from stemma.families.gpt import GPT, GPT2, GPT3
from stemma.families.gpt_kin import CPM, HYPERCLOVA, JURASSIC1
from stemma.families.llama import LLAMA, LLAMA2, ORCA, VICUNA
from stemma.families.llava import LLAVA
from stemma.families.mistral import MISTRAL, MIXTRAL, SOLAR
from stemma.families.olmo import GLM4, OLMO
from stemma.families.opt import BLOOM, OPT
from stemma.families.palm import FALCON, FALCON_40B, LAMDA, PALM
from stemma.families.pangu import PANGU_ALPHA
from stemma.families.recurrent import COVE, ELMO, ULMFIT
from stemma.families.roberta import ROBERTA, XLM_R
from stemma.families.seq2seq import MT5, T5, T5_V1_1, TRANSFORMER
from stemma.families.xlm import XLM
from stemma.families.xlnet import XLNET
from stemma.spec.lineage import Family, Shape, diff

# By year, parents before their children.
_FAMILIES = (
    TRANSFORMER,
    COVE,
    ELMO,
    ULMFIT,
    GPT,
    BERT,
    MBERT,
    GPT2,
    XLM,
    XLNET,
    ROBERTA,
    SPANBERT,
    SBERT,
    ALBERT,
    ERNIE,
    ERNIE2,
    XLM_R,
    T5,
    BART,
    T5_V1_1,
    MT5,
    ELECTRA,
    GPT3,
    CPM,
    HYPERCLOVA,
    PANGU_ALPHA,
    GLM,
    WUDAO_MOE,
    ERNIE3,
    JURASSIC1,
    GOPHER,
    LAMDA,
    PALM,
    OPT,
    BLOOM,
    LLAMA,
    VICUNA,
    ORCA,
    FALCON,
    FALCON_40B,
    LLAMA2,
    MISTRAL,
    SOLAR,
    MIXTRAL,
    OLMO,
    GLM4,
    LLAVA,
)


def catalogue() -> tuple[Family, ...]:
    """Every family, parents before their children."""
    return _FAMILIES


def family(name: str) -> Family:
    """The family of this name.

    Raises:
        SpecError: where there is none.

    >>> family("llama2").parent.name
    'llama'
    """
    for known in _FAMILIES:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in _FAMILIES)
    raise SpecError("family", Fault("name", name, "is not in the tree", f"use one of {names}"))


def closest(architecture: Shape, candidates: tuple[Family, ...] = _FAMILIES) -> Family:
    """The family from which an architecture differs in the fewest fields besides its sizes; the oldest of equals.

    Args:
        architecture: of any shape.
        candidates: of which those of the same shape are compared.
    """

    def distance(known: Family) -> int:
        return len(diff(known.traits, {name: getattr(architecture, name) for name in known.traits}))

    return min((known for known in candidates if isinstance(architecture, known.shape)), key=distance)
