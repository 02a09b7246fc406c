"""A run as one value: what learns, by which objectives, from which corpus, and how."""

from __future__ import annotations

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
from stemma.training.finish import finish
from stemma.training.learner import Learner
from stemma.training.loop import Outcome, train
from stemma.training.network import Network
from stemma.training.opening import CHECKPOINTS, LINES, RUN, Opened, open_run
from stemma.training.plan import Evaluation, TrainPlan
from stemma.training.toml import write_toml
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
        the run itself (`run.toml`) and its checkpoints.

        Args:
            trackers: told of the run beside the boards that it names.
            device: "cpu" or "cuda"; a GPU where there is one, if not given.
            resume: go on with the run of the folder although some of its settings are others now.

        Raises:
            StemmaError: naming what is at fault in the run, its data or its folder.
        """
        folder = Path(self.folder)
        with assemble(self, device) as team:
            opened = _in_turn(team, lambda: self._open(resume))
            learner = Learner(opened.stored.model, opened.lessons, self.seed)
            told = [JsonLines(folder / LINES), *self._boards(), *trackers] if team.leads else []
            outcome = train(
                learner, self, folder=folder / CHECKPOINTS, held_out=opened.held_out, trackers=told, team=team
            )
            if team.leads and outcome.ended != "interrupted":
                finish(self, opened, learner, outcome, team)
        return outcome

    def _open(self, resume: bool) -> Opened:
        """All that the run needs; from then on its folder is its own."""
        table, told = encode(self), Path(self.folder) / RUN
        del table["kind"]
        text = write_toml(table)
        if told.is_file() and not resume and told.read_text(encoding="utf-8") != text:
            rule = "holds another run, or this one with other settings"
            remedy = f"choose another, or go on with it: stemma pretrain --resume {self.folder}"
            raise InputError("run", Fault("folder", str(self.folder), rule, remedy))
        opened = open_run(self)
        write_whole(told, text)
        return opened

    def _boards(self) -> Iterator[Tracker]:
        folder = Path(self.folder)
        for name in self.trackers:
            yield Board.tensorboard(folder) if name == "tensorboard" else Board.trackio(folder.parent.name, folder.name)


def _in_turn(team: Team, make: Callable[[], Made]) -> Made:
    """Made by the leading process first, so that the others find its files."""
    if not team.leads:
        team.wait()
    made = make()
    if team.leads:
        team.wait()
    return made
