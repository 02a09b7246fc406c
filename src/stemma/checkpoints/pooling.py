"""The files by which sentence-transformers says how a folder's model makes one vector of a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stemma.checkpoints.safety import parse_json, read_json
from stemma.errors import CheckpointError, Fault
from stemma.spec.pooling import Pooling, PoolingKind

# Their modes by name, and by the flag that versions before 6 keep for each.
_MODES: Mapping[str, PoolingKind] = {"mean": "mean", "cls": "cls", "max": "max", "lasttoken": "last"}
_FLAGS: Mapping[PoolingKind, str] = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "last": "pooling_mode_lasttoken",
}
_OTHER_FLAGS = ("pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens")
# A tokenizer without a limit of its own says about 1e30.
_NO_LIMIT = 10**9
_REMEDY = "use sentence-transformers for this model"


def read_pooling(folder: Path) -> Pooling | None:
    """The pooling that a folder asks for; None where it is no sentence-transformers folder.

    Raises:
        CheckpointError: naming every module and setting that would give other vectors than these.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return None
    modules = parse_json(b'{"modules": ' + path.read_bytes() + b"}", str(path))["modules"]
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise CheckpointError(str(path), Fault("modules", modules, "must be a list of objects", "save the model again"))
    faults: list[Fault] = []
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        faults.append(Fault("modules.json", kinds, "must be Transformer, Pooling and at most Normalize", _REMEDY))
    places = [str(module.get("path", "")) for module in modules]
    if any(place and Path(place).name != place for place in places) or places[:1] not in ([], [""]):
        faults.append(Fault("modules.json", places, "must lie in this folder, the model at its top", _REMEDY))
    if faults:
        raise CheckpointError(str(folder), faults)
    kind = _kind(_settings(folder / places[1] / "config.json"), faults)
    max_tokens = _max_tokens(folder, faults)
    if _settings(folder / "config_sentence_transformers.json").get("default_prompt_name") is not None:
        faults.append(Fault("default_prompt_name", "set", "puts a prompt before each text", _REMEDY))
    if len(kinds) == 3:
        inputs = _settings(folder / places[2] / "config.json").get("module_input_name", "sentence_embedding")
        if inputs != "sentence_embedding":
            faults.append(Fault("module_input_name", inputs, "must be sentence_embedding", _REMEDY))
    if faults:
        raise CheckpointError(str(folder), faults)
    return Pooling(kind, len(kinds) == 3, max_tokens)


def write_pooling(pooling: Pooling, folder: Path, d_model: int) -> None:
    """Write the same files, so that sentence-transformers opens the folder.

    Args:
        pooling: what to write.
        folder: stands already.
        d_model: width of the vectors.
    """
    kinds = ["Transformer", "Pooling", *(["Normalize"] if pooling.normalise else [])]
    places = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": n, "name": str(n), "path": places[n], "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    flags = {flag: kind == pooling.kind for kind, flag in _FLAGS.items()}
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": pooling.max_tokens, "do_lower_case": False})
    for n, content in enumerate(({"word_embedding_dimension": d_model, **flags}, {})[: len(kinds) - 1], start=1):
        (folder / places[n]).mkdir()
        _write(folder / places[n] / "config.json", content)


def _kind(settings: Mapping[str, Any], faults: list[Fault]) -> PoolingKind:
    modes = settings.get("pooling_mode")
    if modes is None:
        flags = {flag: mode for mode, kind in _MODES.items() for flag in [_FLAGS[kind]]}
        flags |= {flag: flag for flag in _OTHER_FLAGS}
        modes = [mode for flag, mode in flags.items() if settings.get(flag)]
    modes = modes if isinstance(modes, list) else [modes]
    known = [_MODES[mode] for mode in modes if isinstance(mode, str) and mode in _MODES]
    if len(modes) != 1 or len(known) != 1:
        faults.append(Fault("pooling_mode", modes, f"must be one of {', '.join(_MODES)}", _REMEDY))
        return "mean"
    return known[0]


def _max_tokens(folder: Path, faults: list[Fault]) -> int | None:
    settings = _settings(folder / "sentence_bert_config.json")
    if settings.get("do_lower_case"):
        faults.append(Fault("do_lower_case", True, "is done before the tokenizer", "let the tokenizer do it"))
    output = settings.get("modality_config", {})
    if output not in ({}, {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}):
        faults.append(Fault("modality_config", output, "must read text into last_hidden_state", _REMEDY))
    limit = settings.get("max_seq_length")
    if limit is None:
        limit = _settings(folder / "tokenizer_config.json").get("model_max_length")
        limit = None if isinstance(limit, int | float) and limit > _NO_LIMIT else limit
    if limit is not None and (type(limit) is not int or limit < 1):
        faults.append(Fault("max_seq_length", limit, "must be a whole number of at least 1", "correct it"))
    return limit


def _settings(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
