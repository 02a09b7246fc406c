"""PEFT's folders: adapters that others trained, and ours for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.attaching import headless, misnamed
from stemma.adaptation.lora import LoRA
from stemma.adaptation.peft_heads import read_heads, write_heads
from stemma.adaptation.peft_lora import read_lora, write_lora
from stemma.adaptation.peft_names import PREFIX, Theirs, theirs
from stemma.adaptation.peft_prompts import read_prompt, write_prompt
from stemma.adaptation.prefix import PrefixTuning
from stemma.adaptation.prompts import PromptTuning, PTuning
from stemma.checkpoints.atomic import new_folder
from stemma.checkpoints.safety import read_json, read_safetensors_header
from stemma.errors import CheckpointError, Fault, InputError
from stemma.spec.lineage import Family

_CONFIG, _TENSORS = "adapter_config.json", "adapter_model.safetensors"

Config = Mapping[str, Any]
Reader = Callable[[Config, Mapping[str, Tensor], Any, str, Theirs, list[Fault]], Adaptation]
"""Puts what a folder holds on a network under a name, or raises these faults and its own."""
Writer = Callable[[Any, str, Any, Theirs], tuple[dict[str, Any], dict[str, Tensor]]]
"""The entries and tensors of a network's adaptation of a name and a value."""


class Form(NamedTuple):
    """One of PEFT's kinds.

    Args:
        name: theirs.
        kind: our value of it.
        read: puts it on a network.
        write: makes their form of it.
        prefix: what stands before the names of heads that are saved with it.
    """

    name: str
    kind: type[Adaptation]
    read: Reader
    write: Writer
    prefix: str = "base_model."


FORMS = (
    Form("LORA", LoRA, read_lora, write_lora, PREFIX),
    Form("PROMPT_TUNING", PromptTuning, read_prompt, write_prompt),
    Form("P_TUNING", PTuning, read_prompt, write_prompt),
    Form("PREFIX_TUNING", PrefixTuning, read_prompt, write_prompt),
)
"""All that are read and written."""


def read_peft(
    model: Any, folder: str | Path, name: str, *, family: Family, facts: Mapping[str, Any] | None = None
) -> Adaptation:
    """Put an adapter that PEFT wrote on a network, and the heads that were saved with it.

    Args:
        model: the network that it was made for, changed in place.
        folder: holds adapter_config.json and adapter_model.safetensors.
        name: under which it is switched from now on.
        family: the network's, whose checkpoints tell the names of its parts.
        facts: what is known of the network besides, where that tells the class.

    Raises:
        InputError: the name cannot be given.
        CheckpointError: naming everything that does not fit; the network is then as it was.
    """
    if found := misnamed(model, [name]):
        raise InputError("adapt", found)
    folder = Path(folder)
    config, path = read_json(folder / _CONFIG), folder / _TENSORS
    kind = config.get("peft_type")
    form = next((one for one in FORMS if one.name == kind), None)
    if form is None:
        rule = f"is none of those that are read here: {', '.join(one.name for one in FORMS)}"
        raise CheckpointError(str(folder), Fault("peft_type", kind, rule, "convert it with PEFT"))
    if not path.is_file():
        rule, remedy = "is missing", "save the adapter as safetensors"
        raise CheckpointError(str(folder), Fault("file", _TENSORS, rule, remedy))
    stored = read_safetensors_header(path)
    names = theirs(model, family, facts or {}, stored)
    with safe_open(path, framework="pt") as held:
        tensors = {key: held.get_tensor(key) for key in stored}
    faults: list[Fault] = []
    heads = read_heads(config, tensors, names, form.prefix, faults)
    try:
        adaptation = form.read(config, tensors, model, name, names, faults)
    except CheckpointError as error:
        raise CheckpointError(str(folder), error.faults) from None
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for ours, tensor in heads.items():
            parameters[ours].copy_(tensor)
    return adaptation


def write_peft(
    model: Any,
    name: str,
    adaptation: Adaptation,
    folder: str | Path,
    *,
    family: Family,
    facts: Mapping[str, Any] | None = None,
    heads: Sequence[str] = (),
    base: str | None = None,
) -> None:
    """Write an adaptation as a folder that PEFT opens on `transformers`' class of the network.

    Args:
        model: the network.
        name: under which the adaptation is on it.
        adaptation: the value.
        folder: appears once all of it is on the disk.
        family: the network's.
        facts: what is known of the network besides.
        heads: of the task, to be written too.
        base: where the network itself is found, a folder or a name on the hub.

    Raises:
        InputError: PEFT has no form of this adaptation.
        CheckpointError: no class of theirs holds the network, or the folder cannot be written.
    """
    form = next((one for one in FORMS if one.kind is type(adaptation)), None)
    if form is None:
        known = ", ".join(one.kind.__name__ for one in FORMS)
        rule = f"has no form in PEFT, as have {known}"
        raise InputError("write_peft", Fault("adaptation", adaptation.kind, rule, "use save() and load()"))
    if found := headless(model, heads):
        raise InputError("write_peft", found)
    names = theirs(model, family, facts or {})
    config, tensors = form.write(model, name, adaptation, names)
    saved, whole = write_heads(model, heads, names, form.prefix)
    told = {
        "peft_type": form.name,
        "task_type": _task(model),
        "base_model_name_or_path": base,
        "inference_mode": True,
        "modules_to_save": saved or None,
        **config,
    }
    with new_folder(Path(folder)) as partial:
        save_file(tensors | whole, partial / _TENSORS, metadata={"format": "pt"})
        (partial / _CONFIG).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


# The first that a network has tells what PEFT calls the task.
_TASKS = {"classifier": "SEQ_CLS", "tagger": "TOKEN_CLS", "answer": "QUESTION_ANS"}


def _task(model: Any) -> str | None:
    for head, task in _TASKS.items():
        if head in model.heads:
            return task
    if "lm" in model.heads:
        return "SEQ_2_SEQ_LM" if model.architecture.kind == "encoder-decoder" else "CAUSAL_LM"
    return None
