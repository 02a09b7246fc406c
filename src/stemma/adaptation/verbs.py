"""Adaptations of a loaded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from stemma.adaptation.adaptation import Adaptation
from stemma.adaptation.attaching import attach
from stemma.adaptation.catalogue import named
from stemma.adaptation.changes import names
from stemma.adaptation.saving import load, save


class Adapts:
    """Verbs of a model that adaptations are put on; `stemma.adaptation.using` chooses among several."""

    model: Any

    def adapt(self, *adaptations: Adaptation, seed: int = 0) -> Self:
        """The same model with adaptations on it, ready to learn by them; each is known by its kind.

        Args:
            adaptations: such as `LoRA(rank=8)`.
            seed: of their first values.

        Raises:
            InputError: naming all that does not fit the network, which is then as it was.
        """
        attach(self.model, named(adaptations), seed=seed)
        return self

    def adopt(self, folder: str | Path, name: str) -> Self:
        """The same model with an adaptation that was saved alone.

        Args:
            folder: of the adaptation.
            name: under which it is switched.

        Raises:
            CheckpointError: it is another base's, or damaged; the model is then as it was.
        """
        load(self.model, folder, name)
        return self

    def save_adaptation(self, name: str, adaptation: Adaptation, folder: str | Path) -> None:
        """Write what an adaptation learned, and nothing else of the model.

        Args:
            name: under which it is on the model.
            adaptation: the value.
            folder: appears once all of it is on the disk.
        """
        save(self.model, name, adaptation, folder)

    @property
    def adapted(self) -> tuple[str, ...]:
        """The names of the adaptations on it."""
        return names(self.model)
