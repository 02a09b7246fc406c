"""A run as one value: what learns, by which objectives, from which corpus, and how."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from stemma.data import Source
from stemma.errors import Fault, InputError
from stemma.objectives import Objective, passes
from stemma.spec.lineage import Shape
from stemma.training.codec import encode
from stemma.training.distributed import Team, assemble
from stemma.training.files import write_whole
from stemma.training.finish import MODEL, Models
from stemma.training.learner import Learner
from stemma.training.loop import Outcome, train
from stemma.training.network import Network
from stemma.training.opening import CHECKPOINTS, LINES, RUN, Opened, open_run
from stemma.training.plan import Evaluation, TrainPlan
from stemma.training.toml import read_toml, write_toml
from stemma.training.trackers import Board, JsonLines, Tracker
from stemma.training.vocabularies import NewTokenizer

Made = TypeVar("Made")
Boards = Literal["tensorboard", "trackio"]


@dataclass(frozen=True, kw_only=True)
class Run(TrainPlan):
    """A `TrainPlan`, and what it is carried out on; a run file holds these fields.

    Args:
        model: an architecture, a family and fields of it, or the name or folder of a checkpoint to go on from.
        objectives: what it learns by; their losses are added.
        corpus: a path, a pattern, a source or several; pairs are read by the objectives that read pairs.
        tokenizer: the name or folder of one, or how it is learnt; where not given, the checkpoint's, or one of the
            family's kind, of the architecture's size where that is known.
        length: tokens of a row.
        alpha: how languages are mixed: see `stemma.data.language_shares`.
        held_out: share of each corpus's documents that is tried on and not learnt from; None holds out nothing.
        folder: of everything that the run writes; a run whose folder stands goes on from its newest checkpoint.
        cache: of tokenised corpora, where runs share them.
        ray: address of a Ray cluster that tokenises them; this machine's cores do where not given.
        trackers: boards that are told of the run.
        licence: of the data, for the model's card.

    Raises:
        InputError: naming every value that breaks a rule.
    """

    model: str | Network | Shape
    objectives: Sequence[Objective]
    corpus: str | Source | Sequence[Source]
    tokenizer: str | NewTokenizer | None = None
    rows: int = 32
    length: int = 128
    alpha: float = 1.0
    held_out: float | None = 0.05
    evaluation: Evaluation | None = Evaluation(every=100, batches=4)
    folder: str | Path = "run"
    cache: str | Path | None = None
    ray: str | None = None
    trackers: tuple[Boards, ...] = ()
    licence: str = "unknown"

    def __post_init__(self) -> None:
        object.__setattr__(self, "objectives", tuple(self.objectives))
        faults: list[Fault] = list(self._own_faults())
        for check in (super().__post_init__, lambda: passes(self.objectives)):
            try:
                check()
            except InputError as error:
                faults += error.faults
        if faults:
            raise InputError("run", faults)

    def _own_faults(self) -> Iterator[Fault]:
        if self.length < 2:
            yield Fault("length", self.length, "must be at least 2", "give the tokens of a row")
        if not self.alpha >= 0:
            yield Fault("alpha", self.alpha, "must be at least 0", "use 1 for the corpus as it is, 0.7 as XLM")
        if self.held_out is not None and not 0 < self.held_out < 1:
            yield Fault("held_out", self.held_out, "must lie between 0 and 1", "use such as 0.05, or none")

    def train(self, trackers: Iterable[Tracker] = (), *, device: str | None = None, resume: bool = False) -> Outcome:
        """Train to the end, alone or as one of the processes that `torchrun` started.

        The folder then holds the model as `transformers` opens it (`model`), every figure (`run.json`, `run.jsonl`),
        the run itself (`run.toml`) and its checkpoints, which `transformers` opens, too.

        Args:
            trackers: told of the run beside the boards that it names.
            device: "cpu" or "cuda"; a GPU where there is one, if not given.
            resume: go on with the run of the folder although some of its settings are others now.

        Raises:
            StemmaError: naming what is at fault in the run, its data or its folder.
        """
        folder = Path(self.folder)
        with assemble(self, device) as team:
            text = self._text()
            opened = in_turn(team, lambda: self._open(text, resume))
            learner = Learner(opened.stored.model, opened.lessons, self.seed)
            told = [Begun(folder, text), *self._boards(), *trackers] if team.leads else []
            models = Models(self, opened, learner, team)
            outcome = train(
                learner,
                self,
                folder=folder / CHECKPOINTS,
                held_out=opened.held_out,
                trackers=told,
                team=team,
                beside=models.beside,
            )
            if team.leads and outcome.ended != "interrupted":
                models.finish(outcome)
        return outcome

    def _text(self) -> str:
        """The run as a file."""
        table = encode(self)
        del table["kind"]
        return write_toml(table)

    def _open(self, text: str, resume: bool) -> Opened:
        """All that the run needs, in a folder that is its own or nobody's."""
        folder = Path(self.folder)
        before = (folder / RUN).read_text(encoding="utf-8") if (folder / RUN).is_file() else None
        held = [name for name in (CHECKPOINTS, MODEL) if any((folder / name).glob("*"))]
        if before is None and held:
            rule, remedy = f"holds {' and '.join(held)} of something else than a run", "choose another"
            raise InputError("run", Fault("folder", str(folder), rule, remedy))
        if before not in (None, text) and not resume:
            rule = "holds another run, or this one with other settings"
            remedy = f"choose another, or go on with it: stemma pretrain --resume {folder}"
            raise InputError("run", Fault("folder", str(folder), rule, remedy))
        if before not in (None, text):
            was, now = read_toml(folder / RUN).get("tokenizer"), tomllib.loads(text).get("tokenizer")
            if was != now:
                fault = Fault("tokenizer", now, f"was {was} when the run began", "resume with the same")
                raise InputError("run", fault)
        return open_run(self, begun=before is not None)

    def _boards(self) -> Iterator[Tracker]:
        folder = Path(self.folder)
        for name in self.trackers:
            yield Board.tensorboard(folder) if name == "tensorboard" else Board.trackio(folder.parent.name, folder.name)


class Begun(JsonLines):
    """The lines of a run, and its file once it has begun: a run that cannot begin leaves its folder to another."""

    def __init__(self, folder: Path, text: str) -> None:
        super().__init__(folder / LINES)
        self._text = text

    def begin(self, step: int, steps: int) -> None:
        """Write the run down."""
        write_whole(self.path.with_name(RUN), self._text)
        super().begin(step, steps)


def in_turn(team: Team, make: Callable[[], Made]) -> Made:
    """Made by the leading process first, so that the others find its files."""
    if not team.leads:
        team.wait()
    made = make()
    if team.leads:
        team.wait()
    return made
