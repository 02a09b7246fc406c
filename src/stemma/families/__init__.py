"""The tree: every family as its difference from its parent."""

from stemma.families.bert import BERT
from stemma.families.catalogue import catalogue, closest, family
from stemma.families.gpt import GPT2
from stemma.families.llama import LLAMA, LLAMA2
from stemma.families.seq2seq import T5, T5_V1_1, TRANSFORMER

__all__ = ["BERT", "GPT2", "LLAMA", "LLAMA2", "T5", "T5_V1_1", "TRANSFORMER", "catalogue", "closest", "family"]
