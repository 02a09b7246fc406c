"""LoRA in PEFT's folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from math import sqrt
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from stemma.adaptation.changes import changed, changes_of, own_weight
from stemma.adaptation.lora import Decomposed, LoRA, LowRank
from stemma.adaptation.peft_names import PREFIX, TheirMap, Theirs
from stemma.adaptation.peft_targets import pattern_value, targeted
from stemma.adaptation.places import linears, maps
from stemma.errors import CheckpointError, Fault, InputError

_DOWN, _UP, _MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"
# What is read, and the types that it may have.
_READ: Mapping[str, tuple[type, ...]] = {
    "peft_type": (str,),
    "r": (int,),
    "lora_alpha": (int, float),
    "lora_dropout": (int, float),
    "target_modules": (str, list),
    "exclude_modules": (str, list, NoneType),
    "layers_to_transform": (int, list, NoneType),
    "layers_pattern": (str, list, NoneType),
    "rank_pattern": (dict, NoneType),
    "alpha_pattern": (dict, NoneType),
    "use_rslora": (bool,),
    "use_dora": (bool,),
    "modules_to_save": (list, NoneType),
    "init_lora_weights": (bool, str, NoneType),
}
# What changes nothing once an adapter is trained.
_INERT = frozenset(
    {"auto_mapping", "base_model_name_or_path", "revision", "peft_version", "task_type", "inference_mode"}
    | {"fan_in_fan_out", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "megatron_core"}
    | {"qalora_group_size", "ensure_weight_tying", "runtime_config"}
)
# First values that leave the base as it is.
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")


def read_lora(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], model: Any, name: str, names: Theirs, faults: list[Fault]
) -> LoRA:
    """Put a LoRA of theirs on a network; what is fused in theirs becomes several with the same A.

    Args:
        config: of the folder.
        tensors: of the folder, but for those of heads.
        model: changed in place.
        name: of the adaptation.
        names: of the network's parts in theirs.
        faults: found so far.

    Raises:
        CheckpointError: naming these and all that does not fit; the network is then as it was.
    """
    faults += _unread(config)
    if malformed := _malformed(config):
        raise CheckpointError("PEFT", [*faults, *malformed])
    chosen = [names.maps[one] for one in targeted(config, names.maps, _task_heads(names))]
    ranks = {one.name: pattern_value(config, "rank_pattern", "r", one.name) for one in chosen}
    alphas = {one.name: pattern_value(config, "alpha_pattern", "lora_alpha", one.name) for one in chosen}
    there, dora = linears(model), bool(config.get("use_dora"))
    wanted: dict[str, tuple[int, ...]] = {}
    for one in chosen:
        rows = sum(there[path].out_features for path in one.paths)
        wanted[one.name + _DOWN] = ranks[one.name], there[one.paths[0]].in_features
        wanted[one.name + _UP] = rows, ranks[one.name]
        if dora:
            wanted[one.name + _MAGNITUDE] = (rows,)
    faults += _unlike(wanted, {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()})
    by_path = {path: one.name for one in chosen for path in one.paths}
    value = LoRA(
        rank=config.get("r", 8),
        alpha=config.get("lora_alpha", 8),
        targets=_shortest(maps(model), by_path),
        ranks={path: ranks[one] for path, one in by_path.items() if ranks[one] != config.get("r", 8)},
        alphas={path: alphas[one] for path, one in by_path.items() if alphas[one] != config.get("lora_alpha", 8)},
        dropout=config.get("lora_dropout") or 0.0,
        scaling="rank_stabilised" if config.get("use_rslora") else "standard",
        decomposed=dora,
    )
    if faults := [*faults, *value.faults(model.architecture)]:
        raise CheckpointError("PEFT", faults)
    value.attach(model, name)
    _fill(model, name, chosen, tensors)
    return value


def write_lora(model: Any, name: str, value: LoRA, names: Theirs) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A LoRA as theirs: its configuration and its tensors.

    What is fused in theirs gets the rows of all of ours, and one A where they have the same, else theirs one below the
    other.

    Args:
        model: the network.
        name: of the adaptation.
        value: of the adaptation.
        names: of the network's parts in theirs.

    Raises:
        InputError: it changes what is no linear map of theirs.
    """
    held = _changes(model, name)
    chosen = [one for one in names.maps.values() if any(path in held for path in one.paths)]
    alien = set(held) - {path for one in chosen for path in one.paths}
    if alien or not held:
        rule = "is no linear map of theirs" if alien else "changes nothing on this network"
        remedy = "use save() and load()" if alien else "attach it first"
        raise InputError("write_peft", [Fault("map", path, rule, remedy) for path in sorted(alien) or [name]])
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for one in chosen:
        down, ups, scale = _joined(one, held)
        ranks[one.name] = len(down)
        alphas[one.name] = _plain(scale * (sqrt(len(down)) if value.scaling == "rank_stabilised" else len(down)))
        tensors[PREFIX + one.name + _DOWN] = down
        tensors[PREFIX + one.name + _UP] = one.fuse(ups)
        if value.decomposed:
            there = linears(model)
            tensors[PREFIX + one.name + _MAGNITUDE] = one.fuse(
                {path: _magnitude(held.get(path), own_weight(there[path])) for path in one.paths}
            )
    rank, alpha = (Counter(given.values()).most_common(1)[0][0] for given in (ranks, alphas))
    config = {
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": value.dropout,
        "target_modules": list(_shortest(names.maps, ranks)),
        "rank_pattern": {re.escape(one): given for one, given in ranks.items() if given != rank},
        "alpha_pattern": {re.escape(one): given for one, given in alphas.items() if given != alpha},
        "use_rslora": value.scaling == "rank_stabilised",
        "use_dora": value.decomposed,
        "fan_in_fan_out": any(one.transposed for one in chosen),
        "init_lora_weights": True,
        "bias": "none",
    }
    return config, {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}


def _unread(config: Mapping[str, Any]) -> list[Fault]:
    """Entries that would change the outputs and are not read here."""
    found = [
        Fault(key, value, "is not read here, but changes what the adapter does", "train it without")
        for key, value in config.items()
        if key not in _READ and key not in _INERT and value not in (None, False, {}, [], "none")
    ]
    if (start := config.get("init_lora_weights", True)) not in _PLAIN_STARTS:
        rule = "changes the base network before training"
        found.append(Fault("init_lora_weights", start, rule, "convert it to a plain LoRA with PEFT"))
    return found


def _malformed(config: Mapping[str, Any]) -> list[Fault]:
    """Entries of another type than theirs, and patterns that cannot be read."""
    again = "correct adapter_config.json"
    found = [
        Fault(key, config[key], f"must be {' or '.join(kind.__name__ for kind in kinds)}", again)
        for key, kinds in _READ.items()
        if key in config and type(config[key]) not in kinds
    ]
    patterns = [("target_modules", config.get("target_modules")), ("exclude_modules", config.get("exclude_modules"))]
    patterns += [(table, key) for table in ("rank_pattern", "alpha_pattern") for key in config.get(table) or ()]
    for key, pattern in patterns:
        try:
            re.compile(pattern if isinstance(pattern, str) else "")
        except re.error as error:
            found.append(Fault(key, pattern, f"is no regular expression: {error}", again))
    return found


def _task_heads(names: Theirs) -> list[str]:
    """Their maps that belong to a task's head."""
    tasks = ("heads.classifier", "heads.tagger", "heads.answer")
    return [one.name for one in names.maps.values() if one.paths[0].startswith(tasks)]


def _unlike(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, Tensor]) -> list[Fault]:
    """Where a folder's tensors are not those that its configuration asks for."""
    again = "correct adapter_config.json, or save the adapter again"
    missing = [
        Fault(key, None, "is missing", f"its shape is {list(shape)}; {again}")
        for key, shape in wanted.items()
        if key not in given
    ]
    surplus = [
        Fault(key, list(tensor.shape), "belongs to no linear map of this network that is adapted", again)
        for key, tensor in given.items()
        if key not in wanted
    ]
    misshaped = [
        Fault(key, list(given[key].shape), f"must have shape {list(shape)}", again)
        for key, shape in wanted.items()
        if key in given and tuple(given[key].shape) != shape
    ]
    return [*missing, *surplus, *misshaped]


def _fill(model: Any, name: str, chosen: list[TheirMap], tensors: Mapping[str, Tensor]) -> None:
    held = _changes(model, name)
    with torch.no_grad():
        for one in chosen:
            for path in one.paths:
                held[path].down.copy_(tensors[PREFIX + one.name + _DOWN])
            for path, part in one.split(tensors[PREFIX + one.name + _UP]):
                held[path].up.copy_(part)
            if (magnitude := tensors.get(PREFIX + one.name + _MAGNITUDE)) is not None:
                for path, part in one.split(magnitude):
                    change = held[path]
                    assert isinstance(change, Decomposed), "told so by the configuration"
                    change.magnitude.copy_(part)


def _changes(model: Any, name: str) -> dict[str, LowRank]:
    """What an adaptation does to each map."""
    found = {}
    for path, module in changed(model, name).items():
        held = changes_of(module)
        change = None if held is None else held[name]
        assert isinstance(change, LowRank), "it is a LoRA"
        found[path] = change
    return found


def _joined(one: TheirMap, held: Mapping[str, LowRank]) -> tuple[Tensor, dict[str, Tensor], float]:
    """One A for what is fused, the B of each of our maps, and what their product is scaled with."""
    parts = {path: held[path] for path in one.paths if path in held}
    first, *others = parts.values()
    if all(torch.equal(first.down, other.down) and first.scale == other.scale for other in others):
        zero = torch.zeros(1, dtype=first.up.dtype)
        shapes = dict(zip(one.paths, one.entry.shapes, strict=True))
        return (
            first.down,
            {path: parts[path].up if path in parts else zero.expand(shapes[path][0], first.rank) for path in one.paths},
            first.scale,
        )
    down = torch.cat([part.down for part in parts.values()])
    ups, start = {}, 0
    for path, shape in zip(one.paths, one.entry.shapes, strict=True):
        ups[path] = down.new_zeros(shape[0], len(down))
        if path in parts:
            stop = start + parts[path].rank
            ups[path][:, start:stop] = parts[path].up * (parts[path].scale / first.scale)
            start = stop
    return down, ups, first.scale


def _magnitude(change: LowRank | None, weight: Tensor) -> Tensor:
    """The norms of a map's rows, learned or as they are."""
    if isinstance(change, Decomposed):
        return change.magnitude
    norms: Tensor = torch.linalg.vector_norm(weight.float(), dim=1)
    return norms


def _shortest(all_names: Iterable[str], chosen: Iterable[str]) -> tuple[str, ...]:
    """The last parts of names where these tell the chosen from all others, else the names."""
    short, chosen = dict.fromkeys(map(_last, chosen)), tuple(chosen)
    return tuple(short) if {name for name in all_names if _last(name) in short} == set(chosen) else chosen


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _plain(number: float) -> float:
    """A number without what rounding left, whole where it is."""
    rounded = float(f"{number:.12g}")
    return int(rounded) if rounded.is_integer() else rounded
