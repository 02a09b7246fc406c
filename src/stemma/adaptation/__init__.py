"""How a pretrained network is fitted to a task: what is frozen, what is added, what learns."""

from stemma.adaptation.adaptation import Adaptation, Learning
from stemma.adaptation.adapters import Adapters
from stemma.adaptation.attaching import attach, detach, learning, let_learn
from stemma.adaptation.catalogue import ADAPTATIONS
from stemma.adaptation.changes import Change, names, plug, using
from stemma.adaptation.features import Features
from stemma.adaptation.lora import LoRA
from stemma.adaptation.merging import fold, merge, unmerge
from stemma.adaptation.peft import read_peft, write_peft
from stemma.adaptation.places import roles
from stemma.adaptation.prefix import PrefixTuning
from stemma.adaptation.prompts import PromptTuning, PTuning
from stemma.adaptation.quantised import Quantised
from stemma.adaptation.saving import load, save
from stemma.adaptation.selections import BitFit, Frozen, Full, TopLayers
from stemma.adaptation.summary import Memory, Summary, summary
from stemma.adaptation.told import Saved
from stemma.adaptation.unfreezing import GradualUnfreezing
from stemma.adaptation.virtual import virtual_ids

__all__ = [
    "ADAPTATIONS",
    "Adaptation",
    "Adapters",
    "BitFit",
    "Change",
    "Features",
    "Frozen",
    "Full",
    "GradualUnfreezing",
    "Learning",
    "LoRA",
    "Memory",
    "PTuning",
    "PrefixTuning",
    "PromptTuning",
    "Quantised",
    "Saved",
    "Summary",
    "TopLayers",
    "attach",
    "detach",
    "fold",
    "learning",
    "let_learn",
    "load",
    "merge",
    "names",
    "plug",
    "read_peft",
    "roles",
    "save",
    "summary",
    "unmerge",
    "using",
    "virtual_ids",
    "write_peft",
]
