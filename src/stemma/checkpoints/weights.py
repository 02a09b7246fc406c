"""Weights in a folder: one file or several, safetensors or (where it is asked for) PyTorch's own."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stemma.checkpoints.rules import Info
from stemma.checkpoints.safety import read_json, read_safetensors_header
from stemma.errors import CheckpointError, Fault

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"
SHARD_BYTES = 5_000_000_000


class Weights:
    """The tensors of a folder under the names that the family's rules use.

    Args:
        folder: holds the files.
        spellings: other spellings of parts of names, and what each is read as.
        allow_pickle: read PyTorch's own files, with `weights_only` and mapped into memory.

    Raises:
        CheckpointError: no weights, damaged files, a shard that is missing or holds other tensors than the index says,
            one tensor twice: all faults at once.
    """

    def __init__(self, folder: Path, spellings: Mapping[str, str], *, allow_pickle: bool = False) -> None:
        self._tensors: dict[Path, Any] = {}
        paths, index = _files(folder, allow_pickle)
        self._sources: dict[str, tuple[Path, str]] = {}
        self.infos: dict[str, Info] = {}
        faults: list[Fault] = []
        for path in paths:
            try:
                infos = self._open(path)
            except CheckpointError as error:
                faults += [Fault(f"{path.name}: {f.field}", f.value, f.rule, f.remedy) for f in error.faults]
                continue
            faults += _against_index(path.name, infos, index)
            for name, info in infos.items():
                read_as = next((name.replace(old, new) for old, new in spellings.items() if old in name), name)
                if read_as in self.infos:
                    rule = f"is read as {read_as}, which stands in {self._sources[read_as][0].name} already"
                    faults.append(Fault(name, path.name, rule, "remove one of the two"))
                self.infos[read_as] = info
                self._sources[read_as] = path, name
        if faults:
            raise CheckpointError(str(folder), faults)

    def drop(self, names: Iterable[str]) -> None:
        """Pass these tensors over."""
        for name in list(names):
            del self.infos[name], self._sources[name]

    def read(self, name: str) -> Tensor:
        """One tensor; it may share memory with the file."""
        path, stored = self._sources[name]
        held = self._tensors[path]
        tensor: Tensor = held[stored] if isinstance(held, dict) else held.get_tensor(stored)
        return tensor

    def _open(self, path: Path) -> dict[str, Info]:
        if path.suffix == ".safetensors":
            infos = read_safetensors_header(path)
            try:
                self._tensors[path] = safe_open(path, framework="pt")
            except SafetensorError as error:
                raise CheckpointError(
                    str(path), Fault("header", str(error), "cannot be read", "save it again")
                ) from None
            return infos
        tensors = _load_pickle(path)
        self._tensors[path] = tensors
        return {name: Info(tuple(tensor.shape), tensor.is_floating_point()) for name, tensor in tensors.items()}


def write_weights(tensors: Iterable[tuple[str, Tensor]], folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write safetensors: one file, or shards of at most `shard_bytes` with an index.

    Args:
        tensors: names and values, made one at a time; a shard of them is held.
        folder: stands already.
        shard_bytes: the most bytes of tensors in one file, unless one tensor alone has more.
    """
    shards: list[list[str]] = []
    shard: dict[str, Tensor] = {}
    held = total = 0

    def flush() -> None:
        # Metadata as transformers writes it: it refuses files without.
        try:
            save_file(shard, folder / f"{len(shards)}.safetensors", metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(str(error)) from error
        shards.append(list(shard))
        shard.clear()

    for name, tensor in tensors:
        if shard and held + tensor.nbytes > shard_bytes:
            flush()
            held = 0
        memory = {other.data_ptr() for other in shard.values()}
        # Two names of one file may not share memory.
        shard[name] = tensor.clone() if tensor.data_ptr() in memory else tensor
        held += tensor.nbytes
        total += tensor.nbytes
    flush()
    if len(shards) == 1:
        (folder / "0.safetensors").rename(folder / SAFETENSORS)
        return
    index = {}
    for number, names in enumerate(shards):
        name = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        (folder / f"{number}.safetensors").rename(folder / name)
        index.update(dict.fromkeys(names, name))
    content = {"metadata": {"total_size": total}, "weight_map": index}
    (folder / f"{SAFETENSORS}.index.json").write_text(json.dumps(content, indent=2), encoding="utf-8")


def _files(folder: Path, allow_pickle: bool) -> tuple[list[Path], dict[str, str] | None]:
    """The files that hold the weights, and where there are several the file of each tensor."""
    kinds = (SAFETENSORS, PICKLE) if allow_pickle else (SAFETENSORS,)
    for name in kinds:
        if (folder / name).is_file():
            return [folder / name], None
        if (folder / f"{name}.index.json").is_file():
            return _shards(folder / f"{name}.index.json", Path(name).suffix)
    present = sorted(
        path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
    )
    if present and any(name.startswith("pytorch_model") for name in present):
        remedy = "convert it to safetensors, or pass allow_pickle=True where you trust its maker"
        raise CheckpointError(str(folder), Fault("weights", present, "are pickles, which may run code", remedy))
    rule = f"hold no {SAFETENSORS}" if present else f"must be in {SAFETENSORS}"
    raise CheckpointError(str(folder), Fault("weights", present or None, rule, "save the model as safetensors"))


def _shards(path: Path, suffix: str) -> tuple[list[Path], dict[str, str]]:
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            str(path), Fault("weight_map", weight_map, "must name a file for each tensor", "save again")
        )
    faults = []
    names = list(dict.fromkeys(map(str, weight_map.values())))
    for name in names:
        if Path(name).name != name or "\\" in name or Path(name).suffix != suffix:
            faults.append(
                Fault("weight_map", name, f"must be a {suffix} file in the same folder", "do not trust this index")
            )
        elif not (path.parent / name).is_file():
            faults.append(Fault("weight_map", name, "is missing from the folder", "download the shard"))
    if faults:
        raise CheckpointError(str(path), faults)
    return [path.parent / name for name in names], weight_map


def _against_index(file: str, infos: Mapping[str, Info], index: Mapping[str, str] | None) -> list[Fault]:
    """Where a shard and the index tell different things."""
    if index is None:
        return []
    promised = [name for name, shard in index.items() if shard == file]
    surplus = [name for name in infos if index.get(name) != file]
    return [
        *(
            Fault(name, file, "is in the index but not in the file", "download the shard again")
            for name in promised
            if name not in infos
        ),
        *(
            Fault(name, file, "is in the file but not in the index for it", "download the index again")
            for name in surplus
        ),
    ]


def _load_pickle(path: Path) -> dict[str, Tensor]:
    """PyTorch's own file, read without running what it holds; mapped where it is a zip, as since version 1.6."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        rule = f"cannot be read as weights alone: {str(error).splitlines()[0]}"
        raise CheckpointError(str(path), Fault("file", path.name, rule, "convert it to safetensors")) from None
    if not isinstance(held, dict) or not all(isinstance(t, Tensor) and isinstance(n, str) for n, t in held.items()):
        raise CheckpointError(
            str(path), Fault("file", type(held).__name__, "must hold named tensors", "save its state_dict")
        )
    return held
