"""SST-2's sentences as transformers' Trainer reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Sentences(list):  # type: ignore[type-arg]
    """Tokenised sentences with their labels.

    Args:
        path: of a file of sentences and labels, with a tab between.
        tokenizer: theirs.
        length: the most tokens.
    """

    def __init__(self, path: Path, tokenizer: Any, length: int) -> None:
        lines = [line.rsplit("\t", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        read = tokenizer([text for text, _ in lines], truncation=True, max_length=length)
        super().__init__(
            {**{name: values[number] for name, values in read.items()}, "labels": int(label)}
            for number, (_, label) in enumerate(lines)
        )
