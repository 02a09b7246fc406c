"""Tokenising on a Ray cluster, a file at a time."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import tokenizers

from stemma.data.blocks import Block, encode
from stemma.data.connection import connect
from stemma.data.encoding import Differs, Encoder, Fast, Plain
from stemma.data.sources import Files, Source
from stemma.errors import Fault, InputError
from stemma.text import Tokenizer

Kind = type[Fast] | type[Plain]


def spread(source: Source, tokenizer: Tokenizer, kind: Kind, address: str) -> Iterator[Block]:
    """The documents of files as ids, made by Ray Data; the same blocks in the same order as on one machine.

    Each worker needs this library and the files under the same paths.

    Args:
        source: files.
        tokenizer: the vocabulary.
        kind: of encoder.
        address: of the cluster; "local" starts one here.

    Raises:
        InputError: texts that are not in files, no such cluster, or a fault that a worker met.
        Differs: as the encoder raises it.
    """
    if not isinstance(source, Files):
        raise InputError("ray", Fault("source", type(source).__name__, "is no files", "write the texts to files first"))
    data = connect(address)
    groups = [{"number": number} for number in range(len(source.groups()))]
    work = partial(_work, source=source, vocabulary=tokenizer.backend.to_str(), fast=kind is Fast)
    for row in data.from_items(groups, override_num_blocks=len(groups)).flat_map(work).iter_rows():
        made = pickle.loads(row["block"])
        if isinstance(made, Exception):
            raise made
        yield made


def _work(row: dict[str, Any], source: Files, vocabulary: str, fast: bool) -> Iterator[dict[str, bytes]]:
    """The blocks of one file; an error is a block, too, so that it arrives as it was raised."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        for block in encode(source.only(source.groups()[row["number"]]), _encoder(vocabulary, fast), n_threads=1):
            yield {"block": pickle.dumps(block)}
    except (InputError, Differs) as error:
        yield {"block": pickle.dumps(error)}


@cache
def _encoder(vocabulary: str, fast: bool) -> Encoder:
    return (Fast if fast else Plain)(Tokenizer(tokenizers.Tokenizer.from_str(vocabulary)))
