"""The corpora of a run: where they come from, and what is held out of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, NamedTuple

from stemma.data import Corpus, Files, Report, Source, Texts, documents, split, tokenise
from stemma.data.sources import check_source
from stemma.errors import InputError
from stemma.text import Tokenizer

_LOG = logging.getLogger("stemma.training")


@dataclass(frozen=True, kw_only=True)
class CorpusFiles(Files):
    """Files, or Python's own documentation where there are none of them.

    Args:
        otherwise: "pydoc": what is read where no path matches; its paragraphs cut in two, where pairs are asked for.
    """

    otherwise: Literal["pydoc"] | None = None

    def resolved(self) -> Source:
        """What is read."""
        asked = Files(**{field.name: getattr(self, field.name) for field in fields(Files)})
        if self.otherwise is None or "paths" not in {fault.field for fault in asked.faults()}:
            return asked
        _LOG.warning("%s: no such files; Python's documentation is read instead", ", ".join(self.paths))
        topics = replace(asked, paths=(self.otherwise,), beside=(), fields=("text",), languages=self.languages[:1])
        if asked.n_parts == 1:
            return topics
        halves = [_halves(text) for (text,) in documents(replace(topics, split="paragraph")) if " " in text.strip()]
        return Texts(items=halves, languages=self.languages or ("first", "second"), longest=self.longest)


def _halves(text: str) -> tuple[str, str]:
    """A text's words, the first half and the rest."""
    words = text.split()
    return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])


def sources(corpus: str | Source | Sequence[Source]) -> list[Source]:
    """Every source of a run.

    Raises:
        InputError: naming all that is amiss with any of them.
    """
    given = Files(paths=(corpus,)) if isinstance(corpus, str) else corpus
    found = [one.resolved() if isinstance(one, CorpusFiles) else one for one in _listed(given)]
    faults = []
    for number, one in enumerate(found):
        try:
            check_source(one)
        except InputError as error:
            faults += [replace(fault, field=f"corpus.{number}.{fault.field}") for fault in error.faults]
    if faults:
        raise InputError("run", faults)
    return found


def _listed(given: Source | Sequence[Source]) -> Sequence[Source]:
    return [given] if isinstance(given, Source) else given


class Part(NamedTuple):
    """A corpus in two parts.

    Args:
        learnt: what the network learns from.
        held_out: what it is tried on; None where nothing is held out.
        name: where it comes from, in a few words.
    """

    learnt: Corpus
    held_out: Corpus | None
    name: str

    @property
    def report(self) -> Report:
        """What was met while it was read."""
        return Report(**self.learnt.meta["report"])


def open_parts(
    given: Iterable[Source],
    tokenizer: Tokenizer,
    folder: Path,
    held_out: float | None,
    seed: int,
    ray: str | None = None,
) -> list[Part]:
    """Every corpus, tokenised where it has not been before.

    Args:
        given: the sources.
        tokenizer: the vocabulary.
        folder: of tokenised corpora.
        held_out: share of the documents of each.
        seed: of their draw.
        ray: address of a Ray cluster that tokenises.
    """
    found = []
    for source in given:
        whole = tokenise(source, tokenizer, folder, ray=ray)
        learnt, rest = (whole, None) if held_out is None else split(whole, held_out, seed)
        found.append(Part(learnt, rest, _told(source)))
    return found


def _told(source: Source) -> str:
    """A source in a few words."""
    if isinstance(source, Files):
        return ", ".join(source.paths + source.beside)
    return (isinstance(source, Texts) and source.name) or "texts in memory"
