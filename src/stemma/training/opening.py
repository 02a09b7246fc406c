"""Everything that a run needs before its first step: vocabulary, network, corpora, lessons."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemma.checkpoints import Stored
from stemma.data import Corpus, Ids, Rows, Source
from stemma.errors import Fault, InputError
from stemma.families import closest, family
from stemma.objectives import Pass, Setting, Vocabulary, passes
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Family, Shape
from stemma.spec.parts import EncoderDecoder
from stemma.spec.recurrent_parts import Characters
from stemma.text import Tokenizer, read_tokenizer
from stemma.training.codec import encode
from stemma.training.corpora import Part, open_parts, sources
from stemma.training.files import write_whole
from stemma.training.folders import begin_network
from stemma.training.learner import Lesson
from stemma.training.network import Network
from stemma.training.vocabularies import NewTokenizer, open_tokenizer

if TYPE_CHECKING:
    from stemma.training.run import Run

RUN, CHECKPOINTS, LINES, TOKENIZER, CORPORA = "run.toml", "checkpoints", "run.jsonl", "tokenizer", "corpora"
"""What stands in a run's folder while it goes on."""

# Lengths of rows are rounded up to it; a compiled network should meet few lengths.
_MULTIPLE, _MULTIPLE_COMPILED = 8, 64
_SAMPLE = 1 << 22


@dataclass(frozen=True)
class Opened:
    """A run that is ready to begin.

    Args:
        stored: the network, its family, and what its configuration should say besides.
        tokenizer: its vocabulary.
        parts: the corpora.
        lessons: what it learns by.
        held_out: the same with rows that it does not learn from.
        epochs: rows of the first epoch of each lesson.
    """

    stored: Stored
    tokenizer: Tokenizer
    parts: Sequence[Part]
    lessons: Sequence[Lesson]
    held_out: Sequence[Lesson]
    epochs: Sequence[int]


def open_run(run: Run, begun: bool) -> Opened:
    """Make or find whatever a run needs.

    Args:
        run: itself.
        begun: whether its folder holds its first steps, and the vocabulary that they were taken with.

    Raises:
        StemmaError: naming what is at fault in the run or in its data.
    """
    folder, asked = Path(run.folder), passes(run.objectives)
    given = sources(run.corpus)
    tokenizer = _tokenizer(run, given, folder / TOKENIZER, begun)
    stored = begin_network(run.model, len(tokenizer), run.seed)
    spec: Shape = stored.architecture
    if faults := list(_misfits(run, spec, tokenizer)):
        raise InputError("run", faults)
    parts = open_parts(given, tokenizer, Path(run.cache or folder / CORPORA), run.held_out, run.seed, run.ray)
    vocabulary = vocabulary_of(stored, tokenizer)
    if any(getattr(one, "replacement", None) == "unigram" for one in run.objectives):
        vocabulary = vocabulary.with_frequencies(_blocks(parts))
    setting = Setting(vocabulary, run.length, spec)
    if faults := [fault for one in asked for fault in (*one.faults(setting), *_unread(one, parts))]:
        raise InputError("run", faults)
    facts = {**stored.facts, **_ids(tokenizer, spec, vocabulary)}
    corpora = [part.learnt for part in parts]
    rest = [part.held_out for part in parts if part.held_out is not None]
    learnt = [_rows(run, number, one, corpora, vocabulary, run.rows) for number, one in enumerate(asked)]
    # Of few documents no batches of like length can be made.
    tried = [_rows(run, number, one, rest, vocabulary, 1) for number, one in enumerate(asked) if rest]
    return Opened(
        replace(stored, facts=facts),
        tokenizer,
        parts,
        [_lesson(run, *pair, setting) for pair in zip(asked, learnt, strict=True)],
        [_lesson(run, *pair, setting) for pair in zip(asked, tried, strict=False)],
        [rows.in_epoch(0) for rows in learnt],
    )


def _tokenizer(run: Run, given: Sequence[Source], folder: Path, begun: bool) -> Tokenizer:
    """The run's vocabulary, learnt once."""
    if isinstance(run.tokenizer, str):
        return open_tokenizer(run.tokenizer)
    if run.tokenizer is None and isinstance(run.model, str):
        return open_tokenizer(run.model)
    new = run.tokenizer or NewTokenizer(size=getattr(run.model, "vocab_size", 0) or NewTokenizer().size)
    of, label = _family(run.model), folder / "learnt.json"
    table = {"family": of.name, "tokenizer": encode(new), "from": [source.identity() for source in given]}
    text = json.dumps(table, indent=2, default=str) + "\n"
    known = label.is_file() and (begun or label.read_text(encoding="utf-8") == text)
    found = read_tokenizer(folder) if known else None
    if found is None:
        found = new.learn(given, of)
        found.save(folder)
        write_whole(label, text)
    return found


def _family(model: str | Network | Shape) -> Family:
    if isinstance(model, str):
        return begin_network(model, 0, 0).family
    return family(model.family) if isinstance(model, Network) else closest(model)


def _misfits(run: Run, spec: Shape, tokenizer: Tokenizer) -> Iterator[Fault]:
    """Rows and vocabularies that the network has no room for."""
    longest = spec.max_tokens if isinstance(spec, Architecture) else None
    if longest is not None and run.length > longest:
        yield Fault("length", run.length, f"exceeds the network's {longest} positions", f"use {longest} or fewer")
    if 0 < spec.vocab_size < len(tokenizer):
        rule = f"must hold the tokenizer's {len(tokenizer)} tokens"
        yield Fault("model.vocab_size", spec.vocab_size, rule, "leave it out, or learn fewer tokens")


def _unread(one: Pass, parts: Sequence[Part]) -> Iterator[Fault]:
    if not _fitting(one, [part.learnt for part in parts]):
        kind = "pairs" if one.reads == "pairs" else "single texts"
        yield Fault("corpus", [part.name for part in parts], f"hold no {kind}, which {one.name} reads", "name some")


def _fitting(one: Pass, corpora: Sequence[Corpus]) -> list[Corpus]:
    """The corpora that a pass reads."""
    n_parts = 2 if one.reads == "pairs" else 1
    return [corpus for corpus in corpora if corpus.lengths.shape[1] == n_parts]


def _rows(run: Run, number: int, one: Pass, corpora: Sequence[Corpus], vocabulary: Vocabulary, batch: int) -> Rows:
    """Those of a pass; each has a seed of its own, so that two do not draw alike."""
    return Rows(
        _fitting(one, corpora),
        one.reads,
        one.takes(run.length),
        vocabulary.frame,
        run.seed + number,
        alpha=run.alpha,
        batch=batch,
        copies=one.copies,
    )


def _lesson(run: Run, one: Pass, rows: Rows, setting: Setting) -> Lesson:
    # Packed rows are nearly full: one length for them all costs a compiled network less than several.
    length = run.length if run.compile and one.reads == "whole" else None
    return Lesson(one, rows.row, setting, _MULTIPLE_COMPILED if run.compile else _MULTIPLE, length)


def vocabulary_of(stored: Stored, tokenizer: Tokenizer) -> Vocabulary:
    """The tokenizer's, as a network has it."""
    spec: Any = stored.architecture
    read = getattr(spec, "tokens", None)
    return Vocabulary.of(
        tokenizer,
        size=spec.vocab_size,
        max_characters=read.max_characters if isinstance(read, Characters) else None,
        start=stored.facts.get("decoder_start_token_id"),
    )


def _blocks(parts: Sequence[Part]) -> Iterator[Ids]:
    """The ids of all corpora, some at a time."""
    for part in parts:
        for ids in part.learnt.shards:
            for start in range(0, len(ids), _SAMPLE):
                yield ids[start : start + _SAMPLE]


def _ids(tokenizer: Tokenizer, spec: Shape, vocabulary: Vocabulary) -> dict[str, int]:
    """Entries of a configuration that tell ids by their roles."""
    roles = {name: getattr(tokenizer.roles, name) for name in ("bos", "eos", "pad")}
    if isinstance(spec, Architecture) and isinstance(spec.stacks, EncoderDecoder):
        roles["decoder_start"] = vocabulary.start
    return {f"{name}_token_id": token for name, token in roles.items() if token is not None}
