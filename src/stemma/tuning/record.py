"""What a tuning run found, in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class Forgetting:
    """The loss of the pretraining objective on held-out text, in nats a token.

    Args:
        objective: its name.
        before: the run.
        after: it.
    """

    objective: str
    before: float
    after: float


@dataclass(frozen=True)
class Result:
    """A tuning run in figures.

    Args:
        folder: of the run.
        model: the checkpoint that was adapted.
        task: its name.
        adaptations: by their kinds.
        seed: of the run.
        ended: why it ended.
        steps: of the optimiser.
        tokens: real ones that were read.
        seconds: of work.
        trained: parameters that learned.
        total: parameters of the network as it is used.
        scores: on each part of the records that it was tried on.
        forgetting: None where no head tells words, or none was asked for.
        memory: the most bytes held.
        output: the folder that `stemma.load` takes, once the run is over.
    """

    folder: str
    model: str
    task: str
    adaptations: tuple[str, ...]
    seed: int
    ended: str
    steps: int
    tokens: int
    seconds: float
    trained: int
    total: int
    scores: Mapping[str, Mapping[str, float]]
    forgetting: Forgetting | None
    memory: int
    output: str

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return {"format": FORMAT, **asdict(self)}
