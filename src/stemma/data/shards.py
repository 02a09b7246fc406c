"""Sources -> shards of ids on disk, made once and mapped into memory."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stemma.data.blocks import Block, encode
from stemma.data.cluster import spread
from stemma.data.corpus import Corpus
from stemma.data.deduplicate import SIEVES, Sieve
from stemma.data.encoding import Differs, encoders
from stemma.data.report import Report
from stemma.data.sources import Source, check_source
from stemma.errors import Fault, InputError
from stemma.files import sync, unfinished
from stemma.text import Tokenizer

FORMAT = 1
META_FILE, LENGTHS_FILE = "corpus.json", "lengths.npy"
SHARD_TOKENS = 1 << 28


def tokenise(
    source: Source,
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    fast: bool | None = None,
    ray: str | None = None,
) -> Corpus:
    """The corpus of a source; it is made where the same has not been made before.

    Args:
        source: where the documents come from.
        tokenizer: the vocabulary; special tokens are not added.
        folder: of all corpora that are kept; each has a folder of its own in it.
        fast: whether to use the package gigatoken where its ids are the same; None: where it is installed. Not with
            streams, which cannot be read again if its ids turn out to differ.
        ray: address of a Ray cluster that tokenises, a file at a time.

    Raises:
        InputError: a source with faults, a damaged file, a folder that cannot be written.
    """
    check_source(source)
    vocabulary = hashlib.sha256(tokenizer.backend.to_str().encode()).hexdigest()
    described = {"format": FORMAT, "tokenizer": vocabulary, "source": source.identity()}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    target = Path(folder) / digest[:20]
    if not target.is_dir():
        note = ""
        for kind in encoders(tokenizer, fast if source.again else False):
            try:
                blocks = spread(source, tokenizer, kind, ray) if ray else encode(source, kind(tokenizer))
                _write(target, source, blocks, described | {"encoder": kind.name, "note": note}, len(tokenizer))
                break
            except Differs as difference:
                note = f"{kind.name} was not used: {difference}"
    return open_corpus(target)


def _write(target: Path, source: Source, blocks: Iterable[Block], described: dict[str, Any], vocab_size: int) -> None:
    """Fill a folder with shards, and give it its name when all is on the disk."""
    dtype = np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
    sieve, report, lengths = SIEVES[source.repeats](), Report(), []
    with _appearing(target) as partial:
        shards = _Shards(partial, dtype)
        for block in blocks:
            report.add(block.report)
            kept = _kept(block, sieve, report)
            shards.append(block.ids[np.repeat(kept, block.lengths.sum(1))], block.lengths[kept])
            lengths.append(block.lengths[kept])
        table = np.concatenate([*lengths, np.empty((0, source.n_parts), dtype=np.int64)])
        shards.close()
        report.documents = len(table)
        np.save(partial / LENGTHS_FILE, table.astype(np.uint32))
        meta = described | {
            "dtype": dtype.str,
            "vocab_size": vocab_size,
            "languages": source.languages or ("",) * source.n_parts,
            "tokens": int(table.sum()),
            "shards": shards.counts,
            "report": asdict(report),
        }
        (partial / META_FILE).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def _kept(block: Block, sieve: Sieve, report: Report) -> NDArray[np.bool_]:
    """Which documents of a block have tokens in each part and are no repetition."""
    real: NDArray[np.bool_] = np.asarray((block.lengths > 0).all(axis=1))
    new = np.zeros(real.shape, dtype=np.bool_)
    new[real] = sieve.new(block.signatures[real])
    report.empty += int((~real).sum())
    report.duplicates += int((real & ~new).sum())
    return new


class _Shards:
    """Files of ids, the next of which begins when one is full; no document stands in two."""

    def __init__(self, folder: Path, dtype: np.dtype[Any]) -> None:
        self._folder, self._dtype = folder, dtype
        self.counts: list[dict[str, int]] = []
        self._file: Any = None

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Write the documents of a block, which all stand in one shard."""
        if not len(lengths):
            return
        if self._file is None or self.counts[-1]["tokens"] + len(ids) > SHARD_TOKENS:
            self.close()
            self._file = (self._folder / shard_name(len(self.counts))).open("wb")
            self.counts.append({"documents": 0, "tokens": 0})
        self._file.write(ids.astype(self._dtype).tobytes())
        self.counts[-1]["documents"] += len(lengths)
        self.counts[-1]["tokens"] += len(ids)

    def close(self) -> None:
        """Close the shard that is open."""
        if self._file is not None:
            self._file.close()


def shard_name(number: int) -> str:
    """Of a file of ids."""
    return f"tokens-{number:05}.bin"


def open_corpus(folder: str | Path) -> Corpus:
    """A corpus that `tokenise` made; its ids are mapped into memory, and read when they are asked for.

    Args:
        folder: of that corpus.

    Raises:
        InputError: no corpus, or a damaged one.
    """
    folder = Path(folder)
    remedy = "remove the folder, and it will be made anew"
    try:
        meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
        lengths = np.load(folder / LENGTHS_FILE, allow_pickle=False).astype(np.int64)
        counts = [shard["documents"] for shard in meta["shards"]]
        sizes = [shard["tokens"] for shard in meta["shards"]]
        shards = [_mapped(folder / shard_name(number), meta["dtype"]) for number in range(len(counts))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(str(folder), Fault("corpus", folder.name, f"cannot be read: {error}", remedy)) from error
    if [len(shard) for shard in shards] != sizes or len(lengths) != sum(counts) or lengths.sum() != sum(sizes):
        raise InputError(str(folder), Fault("corpus", folder.name, "has files of another length than it says", remedy))
    return Corpus.laid_out(shards, counts, lengths, tuple(meta["languages"]), meta)


def _mapped(path: Path, dtype: str) -> NDArray[Any]:
    return np.memmap(path, dtype=dtype, mode="r")


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name once every file in it is on the disk, unless another run was faster."""
    partial = unfinished(target)
    try:
        partial.mkdir(parents=True)
        yield partial
        for path in (*partial.iterdir(), partial):
            sync(path)
        _take_place(partial, target)
    except OSError as error:
        rule = f"cannot be written: {error.strerror or error}"
        raise InputError(str(target), Fault("folder", str(target.parent), rule, "choose another folder")) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _take_place(partial: Path, target: Path) -> None:
    try:
        partial.rename(target)
    except OSError:
        if not target.is_dir():
            raise
