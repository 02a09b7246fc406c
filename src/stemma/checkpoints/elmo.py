"""ELMo's official files: its options, and the weights of its two language models in HDF5."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from stemma.checkpoints.atomic import new_folder
from stemma.checkpoints.elmo_options import read_options, write_options
from stemma.checkpoints.safety import read_json
from stemma.errors import CheckpointError, Fault
from stemma.nn.recurrent import RecurrentModel
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Characters, RecurrentHead

OPTIONS_FILE, WEIGHTS_FILE = "options.json", "lm_weights.hdf5"

# --- The tensors -----------------------------------------------------------------------------------------------------


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _turned(tensor: Tensor) -> Tensor:
    return tensor.T


def _gates(tensor: Tensor) -> Tensor:
    """From TensorFlow's order of the gates, i, j, f, o, to torch's, i, f, g, o, where g is j; and back."""
    i, second, third, o = tensor.chunk(4)
    return torch.cat([i, third, second, o])


@dataclass(frozen=True)
class _Entry:
    """One of their tensors: the parameters of ours that it holds, side by side, and how it lies in the file."""

    theirs: str
    ours: tuple[str, ...]
    read: Callable[[Tensor], Tensor] = _same
    write: Callable[[Tensor], Tensor] = _same

    def split(self, tensor: Tensor, widths: Sequence[int]) -> Iterator[tuple[str, Tensor]]:
        """Each parameter that the tensor holds."""
        parts = torch.split(self.read(tensor), list(widths), 1) if len(self.ours) > 1 else (self.read(tensor),)
        return zip(self.ours, parts, strict=True)

    def join(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The tensor that holds these parameters."""
        parts = [parameters[name] for name in self.ours]
        return self.write(torch.cat(parts, 1) if len(parts) > 1 else parts[0])


def _entries(spec: Recurrent) -> Iterator[_Entry]:
    assert isinstance(spec.tokens, Characters), "ELMo reads characters"
    yield _Entry("char_embed", ("embeddings.table",))
    for number in range(len(spec.tokens.filters)):
        ours = f"embeddings.filters.{number}"
        yield _Entry(
            f"CNN/W_cnn_{number}",
            (f"{ours}.weight",),
            lambda t: t[0].permute(2, 1, 0),
            lambda t: t.permute(2, 1, 0)[None],
        )
        yield _Entry(f"CNN/b_cnn_{number}", (f"{ours}.bias",))
    maps = {
        f"CNN_high_{number}/{{}}_{gate}": f"embeddings.highways.{number}.{gate}"
        for number in range(spec.tokens.n_highway)
        for gate in ("carry", "transform")
    }
    for theirs, ours in {**maps, "CNN_proj/{}_proj": "embeddings.projection"}.items():
        yield _Entry(theirs.format("W"), (f"{ours}.weight",), _turned, _turned)
        yield _Entry(theirs.format("b"), (f"{ours}.bias",))
    for layer in range(spec.n_layers):
        for direction in range(spec.n_directions):
            theirs, ours = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell", f"layers.{layer}.{direction}"
            both = (f"{ours}.weight_input", f"{ours}.weight_hidden")
            yield _Entry(f"{theirs}/W_0", both, lambda t: _gates(t.T), lambda t: _gates(t).T)
            yield _Entry(f"{theirs}/B", (f"{ours}.bias",), _gates, _gates)
            yield _Entry(f"{theirs}/W_P_0", (f"{ours}.projection",), _turned, _turned)


# --- Files -----------------------------------------------------------------------------------------------------------


def read_elmo(
    options: str | Path,
    weights: str | Path | None = None,
    *,
    heads: tuple[RecurrentHead, ...] = (),
    dtype: torch.dtype = torch.float32,
) -> RecurrentModel:
    """Read a biLM as its authors released it (github.com/allenai/bilm-tf).

    Args:
        options: the file of options, or a folder with options.json and lm_weights.hdf5.
        weights: the HDF5 file; where not given, `options` is a folder.
        heads: to build on it, with first values: the files hold none.
        dtype: of the model's parameters, whatever the file's.

    Raises:
        CheckpointError: naming everything in the files that keeps them from being read as they were meant.
    """
    folder = Path(options)
    options, weights = (folder / OPTIONS_FILE, folder / WEIGHTS_FILE) if weights is None else (folder, Path(weights))
    content = read_json(options)
    with ExitStack() as opened:
        tensors = _open(weights, opened)
        try:
            spec = read_options(content, len(tensors), heads)
        except CheckpointError as error:
            raise CheckpointError(f"{options}: {error.where}", error.faults) from None
        entries = list(_entries(spec))
        _check(str(weights), entries, tensors, RecurrentModel(spec, seed=None, device="meta"))
        model = RecurrentModel(spec, seed=0 if heads else None, dtype=dtype)
        parameters = dict(model.named_parameters())
        for entry in entries:
            with _readable(weights):
                tensor = torch.from_numpy(tensors[entry.theirs].dataset[()])
            for name, part in entry.split(tensor, [parameters[name].shape[-1] for name in entry.ours]):
                parameters[name].detach().copy_(part)
    return model


def write_elmo(model: RecurrentModel, folder: str | Path) -> None:
    """Write options.json and lm_weights.hdf5 as AllenNLP and bilm-tf read them; the folder appears whole or not at all.

    Args:
        model: a biLM without heads.
        folder: must not stand yet.

    Raises:
        CheckpointError: the folder stands already, or their format cannot hold this architecture.
    """
    options, h5py = write_options(model.architecture), _h5py()
    parameters = {name: parameter.detach().float().cpu() for name, parameter in model.named_parameters()}
    with new_folder(Path(folder)) as partial:
        (partial / OPTIONS_FILE).write_text(json.dumps(options, indent=2) + "\n", encoding="utf-8")
        with h5py.File(partial / WEIGHTS_FILE, "w") as file:
            for entry in _entries(model.architecture):
                file[entry.theirs] = entry.join(parameters).contiguous().numpy()


def _h5py() -> ModuleType:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError:
        fault = Fault("h5py", None, "is needed for HDF5 files", "pip install stemma-lm[hdf5]")
        raise CheckpointError("elmo", fault) from None
    return h5py  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Tensor:
    """A dataset, and whether it holds floating-point numbers inside the file itself."""

    dataset: Any
    shape: tuple[int, ...]
    sound: bool


def _open(path: Path, opened: ExitStack) -> dict[str, _Tensor]:
    """The tensors of a file by their paths; links are not followed."""
    h5py = _h5py()
    found: dict[str, _Tensor] = {}

    def note(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            sound = entry.dtype.kind == "f" and not entry.external and not entry.is_virtual
            found[name] = _Tensor(entry, tuple(entry.shape), sound)

    with _readable(path):
        opened.enter_context(h5py.File(path, "r")).visititems(note)
    return found


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What h5py raises where a file is damaged, as one error of ours."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        rule = f"cannot be read: {error}"
        raise CheckpointError(str(path), Fault("file", path.name, rule, "name a sound HDF5 file")) from None


def _check(where: str, entries: Sequence[_Entry], tensors: Mapping[str, _Tensor], model: RecurrentModel) -> None:
    """Every tensor has its place, every place its tensor, all of the right shape."""
    parameters = {name: tensor for name, tensor in model.named_parameters() if not name.startswith("heads.")}
    assert sorted(parameters) == sorted(name for entry in entries for name in entry.ours), "each parameter once"
    wanted = {entry.theirs: tuple(entry.join(parameters).shape) for entry in entries}
    absent = [(name, shape) for name, shape in wanted.items() if name not in tensors]
    faults = [Fault(name, list(shape), "is missing", "the options ask for it") for name, shape in absent]
    for name, tensor in tensors.items():
        if name not in wanted:
            faults.append(Fault(name, list(tensor.shape), "has no place in this model", "correct the options"))
        elif tensor.shape != wanted[name]:
            rule = f"must have the shape {list(wanted[name])}"
            faults.append(Fault(name, list(tensor.shape), rule, "correct the options, or the file"))
        elif not tensor.sound:
            faults.append(Fault(name, list(tensor.shape), "must hold numbers, and in this file", "save it again"))
    if faults:
        raise CheckpointError(where, faults)
