"""The tree: every family as its difference from its parent."""

from stemma.families.albert import ALBERT, ELECTRA
from stemma.families.bart import BART
from stemma.families.bert import BERT, ERNIE, ERNIE2, MBERT, SBERT, SPANBERT
from stemma.families.catalogue import catalogue, closest, family
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
from stemma.families.task_heads import task_heads
from stemma.families.xlm import XLM
from stemma.families.xlnet import XLNET

__all__ = [
    "ALBERT",
    "BART",
    "BERT",
    "BLOOM",
    "COVE",
    "CPM",
    "ELECTRA",
    "ELMO",
    "ERNIE",
    "ERNIE2",
    "ERNIE3",
    "FALCON",
    "FALCON_40B",
    "GLM",
    "GLM4",
    "GOPHER",
    "GPT",
    "GPT2",
    "GPT3",
    "HYPERCLOVA",
    "JURASSIC1",
    "LAMDA",
    "LLAMA",
    "LLAMA2",
    "LLAVA",
    "MBERT",
    "MISTRAL",
    "MIXTRAL",
    "MT5",
    "OLMO",
    "OPT",
    "ORCA",
    "PALM",
    "PANGU_ALPHA",
    "ROBERTA",
    "SBERT",
    "SOLAR",
    "SPANBERT",
    "T5",
    "T5_V1_1",
    "TRANSFORMER",
    "ULMFIT",
    "VICUNA",
    "WUDAO_MOE",
    "XLM",
    "XLM_R",
    "XLNET",
    "catalogue",
    "closest",
    "family",
    "task_heads",
]
