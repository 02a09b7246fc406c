"""The files by which sentence-transformers says how a folder's model makes one vector of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stemma.checkpoints.modules import REMEDY, Module, read_modules, settings, write, write_modules
from stemma.checkpoints.projections import projection_settings, read_projection
from stemma.errors import CheckpointError, Fault
from stemma.spec.pooling import Pooling, PoolingKind, Projection, Prompt

# Their modes by name, and by the flag that versions before 6 keep for each.
_MODES: Mapping[str, PoolingKind] = {
    "mean": "mean",
    "cls": "cls",
    "max": "max",
    "lasttoken": "last",
    "weightedmean": "weighted",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
}
_FLAGS: Mapping[PoolingKind, str] = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "last": "pooling_mode_lasttoken",
    "weighted": "pooling_mode_weightedmean_tokens",
    "mean_sqrt_len": "pooling_mode_mean_sqrt_len_tokens",
}
_WIDTHS = ("word_embedding_dimension", "embedding_dimension")
_KNOWN = ("pooling_mode", "include_prompt", *_WIDTHS, *_FLAGS.values())
_WHOLE_FILE = "config_sentence_transformers.json"
# A tokenizer without a limit of its own says about 1e30.
_NO_LIMIT = 10**9


def read_pooling(folder: Path) -> Pooling | None:
    """The pooling that a folder asks for; None where it is no sentence-transformers folder.

    Raises:
        CheckpointError: naming every module and setting that would give other vectors than these.
    """
    modules = read_modules(folder)
    if not modules:
        return None
    faults: list[Fault] = []
    held = modules[1].settings(_KNOWN, faults)
    kind = _kind(held, faults)
    projections = [read_projection(module, faults) for module in modules if module.kind == "Dense"]
    width = next((held[name] for name in _WIDTHS if name in held), None)
    faults += _breaks(modules, projections, width)
    max_tokens = _max_tokens(folder, faults)
    prompts, default = _prompts(settings(folder / _WHOLE_FILE), faults)
    normalise = modules[-1].kind == "Normalize"
    if normalise:
        modules[-1].settings((), faults)
    if faults:
        raise CheckpointError(str(folder), faults)
    include = bool(held.get("include_prompt", True))
    return Pooling(kind, normalise, max_tokens, tuple(projections), prompts, default, include)


def write_pooling(pooling: Pooling, folder: Path, d_hidden: int) -> None:
    """Write the same files, so that sentence-transformers of any version opens the folder.

    Args:
        pooling: what to write.
        folder: stands already.
        d_hidden: width of the hidden states.
    """
    flags = {flag: kind == pooling.kind for kind, flag in _FLAGS.items()}
    contents: list[tuple[str, Mapping[str, Any]]] = [("Transformer", {})]
    contents.append(("Pooling", {_WIDTHS[0]: d_hidden, **flags, "include_prompt": pooling.include_prompt}))
    contents += [("Dense", projection_settings(layer)) for layer in pooling.projections]
    contents += [("Normalize", {})] if pooling.normalise else []
    write_modules(folder, contents)
    write(folder / "sentence_bert_config.json", {"max_seq_length": pooling.max_tokens, "do_lower_case": False})
    if pooling.prompts:
        texts = {prompt.name: prompt.text for prompt in pooling.prompts}
        write(folder / _WHOLE_FILE, {"prompts": texts, "default_prompt_name": pooling.default_prompt})


def _kind(held: Mapping[str, Any], faults: list[Fault]) -> PoolingKind:
    modes = held.get("pooling_mode")
    if modes is None:
        modes = [mode for mode, kind in _MODES.items() if held.get(_FLAGS[kind])]
    modes = modes if isinstance(modes, list) else [modes]
    known = [_MODES[mode] for mode in modes if isinstance(mode, str) and mode in _MODES]
    if len(modes) != 1 or len(known) != 1:
        faults.append(Fault("pooling_mode", modes, f"must be one of {', '.join(_MODES)}", REMEDY))
        return "mean"
    return known[0]


def _breaks(modules: Sequence[Module], projections: Sequence[Projection], width: int | None) -> list[Fault]:
    """Where a dense layer reads another width than the one before it gives."""
    faults, dense = [], [module.folder.name for module in modules if module.kind == "Dense"]
    for name, layer in zip(dense, projections, strict=True):
        if width is not None and layer.d_in != width:
            rule = f"must be {width}, the width of what precedes"
            faults.append(Fault(f"{name}.in_features", layer.d_in, rule, "correct config.json"))
        width = layer.d_out
    return faults


def _prompts(held: Mapping[str, Any], faults: list[Fault]) -> tuple[tuple[Prompt, ...], str | None]:
    """The prompts, but for those that say nothing, and the name of the default one."""
    texts, default = held.get("prompts") or {}, held.get("default_prompt_name")
    if not isinstance(texts, dict) or not all(isinstance(text, str | None) for text in texts.values()):
        faults.append(Fault("prompts", texts, "must be an object of texts", "correct it"))
        return (), None
    if default is not None and default not in texts:
        faults.append(Fault("default_prompt_name", default, "is no prompt of the model", "name one, or remove it"))
    return tuple(Prompt(name, text or "") for name, text in sorted(texts.items()) if text or name == default), default


def _max_tokens(folder: Path, faults: list[Fault]) -> int | None:
    held = settings(folder / "sentence_bert_config.json")
    if held.get("do_lower_case"):
        faults.append(Fault("do_lower_case", True, "is done before the tokenizer", "let the tokenizer do it"))
    output = held.get("modality_config", {})
    if output not in ({}, {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}):
        faults.append(Fault("modality_config", output, "must read text into last_hidden_state", REMEDY))
    limit = held.get("max_seq_length")
    if limit is None:
        limit = settings(folder / "tokenizer_config.json").get("model_max_length")
        limit = None if isinstance(limit, int | float) and limit > _NO_LIMIT else limit
    if limit is not None and (type(limit) is not int or limit < 1):
        faults.append(Fault("max_seq_length", limit, "must be a whole number of at least 1", "correct it"))
    return limit
