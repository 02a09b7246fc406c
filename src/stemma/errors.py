"""The exception tree: what went wrong, where, what the rule is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_LONGEST_VALUE = 120


@dataclass(frozen=True)
class Fault:
    """One broken rule: the field, its value, the rule that it breaks and the remedy.

    >>> str(Fault("n_kv_heads", 3, "must divide n_heads=8", "use 1, 2, 4 or 8"))
    'n_kv_heads=3 must divide n_heads=8; use 1, 2, 4 or 8'
    """

    field: str
    value: object
    rule: str
    remedy: str

    def __str__(self) -> str:
        shown = repr(self.value)
        if len(shown) > _LONGEST_VALUE:
            shown = shown[: _LONGEST_VALUE - 3] + "..."
        return f"{self.field}={shown} {self.rule}; {self.remedy}"


class StemmaError(Exception):
    """Base of every error that a user can cause; it lists all faults of one input at once.

    Args:
        where: the thing at fault: a family, a file, a command.
        faults: every broken rule found in it, at least one.
    """

    def __init__(self, where: str, faults: Fault | Iterable[Fault]) -> None:
        self.where = where
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        assert self.faults, "an error names at least one fault"
        super().__init__(where, self.faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"{self.where}: {self.faults[0]}"
        lines = "".join(f"\n  - {fault}" for fault in self.faults)
        return f"{self.where}: {len(self.faults)} faults{lines}"


class SpecError(StemmaError):
    """An architecture, a family or a size that breaks a rule."""


class CheckpointError(StemmaError):
    """A file or folder that does not hold what it should, or that cannot be written."""


class SourceError(StemmaError):
    """A model name, path or hub id that leads nowhere."""


class TokenizerError(StemmaError):
    """A vocabulary, a tokenizer file or a chat template that cannot be used."""


class InputError(StemmaError):
    """Tokens, text or options that a model or a command cannot take."""


class RunError(StemmaError):
    """A run that cannot go on, whatever its settings."""
