"""Checkpoints of a run: whole or not there at all, told by a hash of every file, and few."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from stemma.checkpoints.atomic import new_folder
from stemma.checkpoints.safety import read_json
from stemma.errors import CheckpointError, Fault
from stemma.training.distributed import Team
from stemma.training.plan import TrainPlan
from stemma.training.state import Progress, Size, State

_FORMAT = 1
_MANIFEST, _STATE, _INDEX = "manifest.json", "state.json", ".metadata"

Beside = Callable[[Path, Progress], None]
"""Writes further files into a checkpoint's folder, which holds all tensors already; one process alone does."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: holds one folder for each; made where there is none.
        plan: says which are kept.
        team: the processes that write together, all of which see the folder.
        beside: what else each of them is to hold.
    """

    def __init__(
        self,
        folder: Path,
        plan: TrainPlan,
        team: Team = Team(),  # noqa: B008 - a frozen value
        beside: Beside | None = None,
    ) -> None:
        self.folder, self.plan, self.team, self.beside = folder, plan, team, beside
        if team.leads:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(".*.partial"):
                shutil.rmtree(left)
        team.wait()

    def all(self) -> list[Path]:
        """Those that stand, the oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.suffix != ".damaged")

    def best(self) -> Path | None:
        """The one that did best on held-out rows."""
        scored = {path: score for path in self.all() if (score := _score(path)) is not None}
        return min(scored, key=lambda path: scored[path]) if scored else None

    def save(self, state: State, score: float | None = None) -> Path:
        """Write a checkpoint; the older ones stand until it does.

        Args:
            state: all of the run.
            score: loss on held-out rows, where this very state was tried on them.

        Raises:
            CheckpointError: it cannot be written; nothing of it is left then, and the older ones stand.
        """
        target = self.folder / f"step-{state.progress.step:09d}"
        if target.exists():
            return target
        with self._new(target) as partial:
            writer = FileSystemWriter(partial)
            with _plain_errors(target, "written"):
                save(dict(state.tensors()), storage_writer=writer, no_dist=self.team.mesh is None)
            if self.team.leads:
                if self.beside is not None:
                    self.beside(partial, state.progress)
                content = {"progress": state.progress.as_dict(), "score": score, "plan": self._fixed}
                _write_json(partial / _STATE, content)
                hashes = {path.name: _hash(path) for path in sorted(partial.iterdir())}
                _write_json(partial / _MANIFEST, {"format": _FORMAT, "torch": torch.__version__, "files": hashes})
        self.team.wait()
        if self.team.leads:
            self._forget()
        return target

    def restore(self, state: State) -> list[str]:
        """Put a run where its newest whole checkpoint left it; where there is none it stays at its beginning.

        A damaged one is set aside under another name, and the one before is taken.

        Args:
            state: a run that has not begun, filled in place.

        Returns:
            What was found damaged, in words.

        Raises:
            CheckpointError: all are damaged, or they are those of another run.
        """
        told: list[str] = []
        newest = self.team.share(self._newest(told) if self.team.leads else None)
        if newest is not None:
            self._read(newest, state)
        return told

    @property
    def _fixed(self) -> dict[str, Any]:
        """What may not change: with other values the steps that follow would not be those of the unbroken run."""
        plan = self.plan
        return {"rows": plan.rows, "seed": plan.seed, "optimiser": type(plan.optimiser).__name__}

    def _newest(self, told: list[str]) -> Path | None:
        found = self.all()
        for path in reversed(found):
            try:
                verify(path)
            except CheckpointError as error:
                told.append(f"{error}; the one before it is taken")
                path.rename(path.with_suffix(".damaged"))
            else:
                return path
        if found:
            rule = "are damaged, all of them"
            names = [path.name for path in found]
            raise CheckpointError(str(self.folder), Fault("checkpoints", names, rule, "begin again in another folder"))
        return None

    def _read(self, path: Path, state: State) -> None:
        content = read_json(path / _STATE)
        faults = [
            Fault(name, value, f"was {content['plan'][name]} when the run began", "resume with the same")
            for name, value in self._fixed.items()
            if content["plan"][name] != value
        ]
        if faults:
            raise CheckpointError(str(path), faults)
        reader = _Reader(path)
        wanted = state.expect(sizes(path))
        with _plain_errors(path, "read"):
            load(dict(wanted), storage_reader=reader, no_dist=self.team.mesh is None)
        state.progress = Progress.of(content["progress"])

    @contextmanager
    def _new(self, target: Path) -> Iterator[Path]:
        """One folder that all processes fill; it takes its name when the last is done, and before any goes on."""
        if not self.team.leads:
            yield self.team.share()
            self.team.wait()
        else:
            with new_folder(target) as partial:
                self.team.share(partial)
                yield partial
                self.team.wait()
        self.team.wait()

    def _forget(self) -> None:
        """Delete what is not to be kept, each at once."""
        saving, found = self.plan.saving, self.all()
        kept = {*found[-saving.last :], self.best()}
        for path in found:
            milestone = saving.milestones and int(path.name.removeprefix("step-")) % saving.milestones == 0
            if path not in kept and not milestone:
                gone = path.with_name(f".{path.name}.partial")
                path.rename(gone)
                shutil.rmtree(gone)


def verify(path: Path) -> None:
    """Hold every file of a checkpoint against its hash.

    Raises:
        CheckpointError: naming each that is missing, added or changed.
    """
    content = read_json(path / _MANIFEST)
    if content.get("format") != _FORMAT:
        rule = f"must be {_FORMAT}"
        raise CheckpointError(str(path), Fault("format", content.get("format"), rule, "use the version that wrote it"))
    wanted = content.get("files", {})
    held = {one.name: _hash(one) for one in path.iterdir() if one.name != _MANIFEST}
    wrong = [name for name in {**wanted, **held} if wanted.get(name) != held.get(name)]
    if wrong:
        remedy = "take the checkpoint before it"
        raise CheckpointError(str(path), [Fault("file", name, "is not what was written", remedy) for name in wrong])


def sizes(path: Path) -> dict[str, Size]:
    """The name and shape of every tensor of a checkpoint."""
    entries = _Reader(path).read_metadata().state_dict_metadata
    return {name: tuple(entry.size) for name, entry in entries.items() if isinstance(entry, TensorStorageMetadata)}


def read_tensors(path: Path, into: Mapping[str, torch.Tensor], *, verified: bool = False) -> None:
    """Read some of a checkpoint's tensors, whole, however they were spread.

    Args:
        path: the checkpoint.
        into: tensors by their names in it, filled in place.
        verified: nothing can have happened to it yet.

    Raises:
        CheckpointError: the checkpoint is damaged, or one is not in it.
    """
    if not verified:
        verify(path)
    with _plain_errors(path, "read"):
        load(dict(into), storage_reader=_Reader(path), no_dist=True)


class _Safe(pickle.Unpickler):
    """Of all that a pickle may name, the few classes that an index is made of."""

    _KNOWN = frozenset(
        {
            ("torch", "Size"),
            ("torch.serialization", "_get_layout"),
            ("pathlib", "PosixPath"),
            ("pathlib", "WindowsPath"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """The class of that name, where it is known."""
        index = module in ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
        if not (index or (module, name) in self._KNOWN or isinstance(getattr(torch, name, None), torch.dtype)):
            raise pickle.UnpicklingError(f"names {module}.{name}, which is no part of an index")
        return super().find_class(module, name)


class _Reader(FileSystemReader):
    """DCP's own, which would let its index run any code."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The index of a checkpoint."""
        path = Path(self.path) / _INDEX
        with path.open("rb") as content:
            try:
                found: Metadata = _Safe(content).load()
            except (pickle.UnpicklingError, EOFError, AttributeError) as error:
                rule = f"is no index of a checkpoint: {error}"
                raise CheckpointError(str(path), Fault("file", path.name, rule, "use another checkpoint")) from None
        found.storage_meta = found.storage_meta or StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found


@contextmanager
def _plain_errors(path: Path, verb: str) -> Iterator[None]:
    """DCP's failures, which are no `Exception`s, as ours; and without its notice that a process alone is alone."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
            yield
    except CheckpointException as error:
        cause, _ = next(iter(error.failures.values()))
        if isinstance(cause, OSError | CheckpointError):
            raise cause from None
        rule = f"cannot be {verb}: {cause}"
        raise CheckpointError(
            str(path), Fault("checkpoint", path.name, rule, "see whether the disk is full")
        ) from error


def _score(path: Path) -> float | None:
    score: float | None = read_json(path / _STATE)["score"]
    return score


def _hash(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
