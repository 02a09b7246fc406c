"""Soft prompts as PEFT's folders hold them: what stands at the virtual tokens, whatever made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.changes import changes_of
from stemma.adaptation.peft_names import Theirs
from stemma.adaptation.prefix import PrefixTuning, prefixed
from stemma.adaptation.prompts import PromptTuning, PTuning
from stemma.adaptation.virtual import Rows, Virtual
from stemma.errors import CheckpointError, Fault
from stemma.nn.positions import rotate, rotation
from stemma.spec.architecture import Architecture
from stemma.spec.parts import EncoderDecoder, Rotary

_KEY = "prompt_embeddings"


def read_prompt(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], model: Any, name: str, names: Theirs, faults: list[Fault]
) -> Adaptation:
    """Put a soft prompt of PEFT's on a network; its folder does not hold what made the vectors: they learn themselves.

    Args:
        config: of a folder whose kind is PROMPT_TUNING, P_TUNING or PREFIX_TUNING.
        tensors: the folder's, without those of heads.
        model: a `Model`, changed in place.
        name: of the adaptation.
        names: of the network's parts, of which a soft prompt's folder has none.
        faults: found so far.

    Raises:
        CheckpointError: naming all that is at fault; the network is then as it was.
    """
    spec, n = model.architecture, config.get("num_virtual_tokens")
    faults += [
        Fault(key, tuple(tensors[key].shape), "is no soft prompt's", "read it into a network that has such a part")
        for key in sorted(set(tensors) - {_KEY})
    ]
    if type(n) is not int or n < 1:
        faults.append(Fault("num_virtual_tokens", n, "must be a whole number of at least 1", "say how many there are"))
        raise CheckpointError("PEFT", faults)
    prefix, twice = config["peft_type"] == "PREFIX_TUNING", config.get("num_transformer_submodules") == 2
    value = PrefixTuning(n_virtual=n) if prefix else PromptTuning(n_virtual=n, start="random")
    faults += value.faults(spec)
    n_layers = _layers(spec)
    if prefix:
        faults += _strange_to_peft(spec, twice)
        n_layers = max(n_layers, config.get("num_layers") or 0) if twice else n_layers
    shape = (n, n_layers * 2 * _d_keys(spec)) if prefix else (n * (1 + twice), spec.d_embedding)
    found = tuple(tensors[_KEY].shape) if _KEY in tensors else None
    if found != shape:
        remedy = "read it into the network that it was made for"
        faults.append(Fault(_KEY, found, f"must be of the shape {shape}", remedy))
    if faults:
        raise CheckpointError("PEFT", faults)
    value.attach(model, name)
    if prefix:
        pairs = tensors[_KEY].float().view(n, n_layers, 2, -1)[:, _order(spec, n_layers)]
        for attention, rows in zip(prefixed(model), _turned(pairs, spec, -1).unbind(1), strict=True):
            _fill(attention.prefix, name, rows)
    else:
        # PEFT gives an encoder-decoder as many vectors again, which it does not read.
        _fill(model.embeddings.prompt, name, tensors[_KEY][:n])
    return value


def write_prompt(
    model: Any, name: str, adaptation: Adaptation, names: Theirs
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the tensors of PEFT's folder of a soft prompt.

    Args:
        model: a `Model` that has it.
        name: of the adaptation.
        adaptation: its value.
        names: of the network's parts, which it does not need.

    Raises:
        CheckpointError: where PEFT cannot hold it.
    """
    spec = model.architecture
    prefix, pair = isinstance(adaptation, PrefixTuning), isinstance(spec.stacks, EncoderDecoder)
    if prefix and (faults := _strange_to_peft(spec, twice=True)):
        raise CheckpointError("PEFT", faults)
    n_layers = _layers(spec) | 1 if pair else _layers(spec)
    with torch.no_grad():
        rows = _written(model, name, n_layers) if prefix else _exchanged(model.embeddings.prompt, name).source()
    config = {
        "num_virtual_tokens": adaptation.n_virtual,
        "num_transformer_submodules": 1 + (prefix and pair),
        "num_layers": n_layers,
        "token_dim": _d_keys(spec) if prefix else spec.d_embedding,
        "num_attention_heads": spec.n_kv_heads if prefix else spec.n_heads,
    }
    if isinstance(adaptation, PTuning):
        kind = adaptation.encoder.upper()
        config |= {"encoder_reparameterization_type": kind, "encoder_hidden_size": adaptation.width}
    if not _TASKS & set(model.heads):
        # Without one PEFT does not open it.
        config["task_type"] = "FEATURE_EXTRACTION"
    return config, {_KEY: rows.detach().float().cpu().contiguous()}


# Heads of which PEFT has a task.
_TASKS = {"lm", "classifier", "tagger", "answer"}


def _written(model: Any, name: str, n_layers: int) -> Tensor:
    """Keys and values of all layers as PEFT lays them out."""
    spec = model.architecture
    pairs = torch.stack([_exchanged(attention.prefix, name).source() for attention in prefixed(model)], 1)
    laid = pairs.new_zeros((len(pairs), n_layers, *pairs.shape[2:]))
    laid[:, _order(spec, n_layers)] = _turned(pairs, spec, 1)
    return laid.flatten(1)


def _layers(spec: Architecture) -> int:
    """Of the stack that reads a prefix."""
    return spec.n_decoder_layers or spec.n_encoder_layers


def _d_keys(spec: Architecture) -> int:
    """The width of a block's keys, all heads together."""
    return spec.n_kv_heads * spec.d_head


def _order(spec: Architecture, n_layers: int) -> list[int]:
    """Which layer's keys and values of a PEFT folder each layer reads.

    For encoder-decoders PEFT lays all of them out twice and gives each block of the decoder the next four, of which it
    reads two; so that only an odd number of layers can be told apart.

    Args:
        spec: of the network.
        n_layers: of the folder.
    """
    return [layer * (1 + isinstance(spec.stacks, EncoderDecoder)) % n_layers for layer in range(_layers(spec))]


def _strange_to_peft(spec: Architecture, twice: bool) -> list[Fault]:
    """Why PEFT has no prefix of such a network."""
    found = []
    if spec.shared_layers:
        rule = "gives all layers one prefix, which PEFT does not read"
        found.append(Fault("shared_layers", True, rule, "use our own form"))
    if spec.modules is not None:
        found.append(Fault("modules", spec.modules, "have a prefix too, which PEFT does not know", "use our own form"))
    if isinstance(spec.stacks, EncoderDecoder) and not twice:
        rule = "mixes up what an encoder-decoder reads of itself and of its encoder"
        found.append(Fault("num_transformer_submodules", 1, rule, "train it with 2, as PEFT usually does"))
    return found


def _turned(pairs: Tensor, spec: Architecture, sign: int) -> Tensor:
    """Keys turned by their positions or, with -1, back again: PEFT keeps them as they are met, a text's first ones."""
    if not isinstance(spec.position, Rotary):
        return pairs
    positions = sign * torch.arange(len(pairs), device=pairs.device)[None]
    turn = rotation(spec.position, positions, spec.d_rotary, pairs.dtype)
    keys, values = pairs.unbind(2)
    heads = keys.view(*keys.shape[:2], -1, spec.d_head).permute(1, 2, 0, 3)
    return torch.stack((rotate(heads, turn).permute(2, 0, 1, 3).flatten(2), values), 2)


def _exchanged(exchange: nn.Module, name: str) -> Virtual:
    changes = changes_of(exchange)
    change = changes[name] if changes else None
    assert isinstance(change, Virtual), "nothing else is exchanged"
    return change


@torch.no_grad()
def _fill(exchange: nn.Module, name: str, rows: Tensor) -> None:
    """Give virtual tokens what was read."""
    source = _exchanged(exchange, name).source
    assert isinstance(source, Rows), "as it was just attached"
    source.rows.copy_(rows)
