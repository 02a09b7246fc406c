"""Sources become shards once, whole or not at all, and are read as they were written."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.data import Corpus, Files, Source, Texts, documents, open_corpus, shards, split, tokenise
from stemma.errors import InputError
from stemma.text import Tokenizer, train

TOPICS = Files(paths=("pydoc",))
TEXTS = [text for (text,) in documents(TOPICS)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(TEXTS[:20], vocab_size=500)


def ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [tokenizer.encode(text, add_special=False) for text in texts]


def held(corpus: Corpus) -> list[list[int]]:
    return [corpus.parts(number)[0].tolist() for number in range(len(corpus))]


def test_a_corpus_holds_the_ids_of_every_document(tokenizer: Tokenizer, tmp_path: Path) -> None:
    corpus = tokenise(TOPICS, tokenizer, tmp_path)
    assert held(corpus) == ids(tokenizer, TEXTS)
    assert corpus.n_documents == len(TEXTS) == corpus.meta["report"]["documents"]
    assert corpus.n_tokens == corpus.meta["tokens"] == sum(len(shard) for shard in corpus.shards)
    assert (corpus.shards[0].dtype, corpus.meta["vocab_size"]) == (np.uint16, 500)
    assert corpus.meta["report"]["bytes"] == sum(len(text.encode()) for text in TEXTS)
    assert np.array_equal(corpus.stretch(3, 5, 9), corpus.parts(3)[0][5:9])
    assert corpus.parts(0)[0].dtype == np.int64
    counts = np.bincount([token for row in held(corpus) for token in row], minlength=500)
    assert np.array_equal(corpus.counts(500), counts)


def test_many_shards_and_blocks(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_TOKENS", 2000)
    monkeypatch.setattr("stemma.data.blocks._DOCUMENTS", 7)
    texts = [f"number {number} " * (number % 9 + 1) for number in range(200)]
    corpus = tokenise(Texts(items=texts), tokenizer, tmp_path)
    assert len(corpus.shards) > 3
    assert held(corpus) == ids(tokenizer, texts)
    assert held(open_corpus(next(tmp_path.iterdir()))) == ids(tokenizer, texts)


def test_large_vocabularies_take_wider_numbers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    corpus = tokenise(Texts(items=["one"]), tokenizer, tmp_path)
    assert corpus.shards[0].dtype.itemsize == 2

    class Large(Tokenizer):
        def __len__(self) -> int:
            return 70_000

    wide = tokenise(Texts(items=["one", "two"]), Large(tokenizer.backend), tmp_path / "wide")
    assert wide.shards[0].dtype.itemsize == 4
    assert held(wide) == ids(tokenizer, ["one", "two"])


def test_pairs_keep_their_parts(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pairs = [("one", "eins eins"), ("two", "zwei"), ("three", " ")]
    corpus = tokenise(Texts(items=pairs, languages=("en", "de")), tokenizer, tmp_path)
    assert corpus.languages == ("en", "de")
    assert [[part.tolist() for part in corpus.parts(number)] for number in range(2)] == [
        ids(tokenizer, list(pair)) for pair in pairs[:2]
    ]
    assert (len(corpus), corpus.meta["report"]["empty"]) == (2, 1)


def test_documents_without_tokens_are_counted_as_empty(tmp_path: Path) -> None:
    wordpiece = train(TEXTS[:5], kind="wordpiece", vocab_size=300)
    corpus = tokenise(Texts(items=["one", "\x01\x02", "two"]), wordpiece, tmp_path)
    assert (len(corpus), corpus.meta["report"]["empty"]) == (2, 1)


@pytest.mark.parametrize("repeats", ["exact", "similar"])
def test_repeats_are_left_out_and_counted(tokenizer: Tokenizer, tmp_path: Path, repeats: Any) -> None:
    texts = [*TEXTS[:9], *TEXTS[3:6], "end"]
    corpus = tokenise(Texts(items=texts, repeats=repeats), tokenizer, tmp_path)
    assert held(corpus) == ids(tokenizer, [*TEXTS[:9], "end"])
    assert corpus.meta["report"]["duplicates"] == 3
    assert corpus.meta["report"]["documents"] == 10


def test_the_same_is_made_once(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Source] = []

    def count(source: Source, report: Any = None) -> Iterator[Any]:
        made.append(source)
        return documents(source, report)

    monkeypatch.setattr("stemma.data.blocks.documents", count)
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n")
    source = Files(paths=(str(path),))
    folder = tmp_path / "kept"
    first = tokenise(source, tokenizer, folder)
    assert held(tokenise(source, tokenizer, folder)) == held(first)
    assert len(made) == 1
    os.utime(path, ns=(1, 1))
    tokenise(source, tokenizer, folder)
    tokenise(Files(paths=(str(path),), split="line"), tokenizer, folder)
    tokenise(source, train(["one two"], vocab_size=280), folder)
    assert len(made) == 4
    tokenise(Texts(items=["one"]), tokenizer, folder)
    tokenise(Texts(items=["one"]), tokenizer, folder)
    tokenise(Texts(items=["two"]), tokenizer, folder)
    assert len(made) == 6
    tokenise(Texts(items=iter(["one"]), name="stream"), tokenizer, folder)
    assert held(tokenise(Texts(items=iter(["any"]), name="stream"), tokenizer, folder)) == ids(tokenizer, ["one"])
    assert len(list(folder.iterdir())) == len(made) == 7


def test_a_failure_leaves_nothing(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n' * 3000 + "{")
    with pytest.raises(InputError, match=r"a\.jsonl:3001"):
        tokenise(Files(paths=(str(path),)), tokenizer, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_folder_that_cannot_be_written(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        tokenise(Texts(items=["one"]), tokenizer, tmp_path / "file")


def test_two_runs_at_once_end_with_one_corpus(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Texts(items=["one", "two"])
    write, done = shards._write, []

    def meanwhile(*arguments: Any) -> None:
        if not done:
            done.append(True)
            tokenise(source, tokenizer, tmp_path)
        write(*arguments)

    monkeypatch.setattr(shards, "_write", meanwhile)
    assert held(tokenise(source, tokenizer, tmp_path)) == ids(tokenizer, ["one", "two"])
    assert len(list(tmp_path.iterdir())) == 1


def damage_length(folder: Path) -> None:
    path = folder / "tokens-00000.bin"
    path.write_bytes(path.read_bytes()[:-2])


def damage_meta(folder: Path) -> None:
    (folder / "corpus.json").write_text("{")


def damage_table(folder: Path) -> None:
    np.save(folder / "lengths.npy", np.ones((1, 1), dtype=np.uint32))


def damage_absence(folder: Path) -> None:
    (folder / "tokens-00000.bin").unlink()


@pytest.mark.parametrize("damage", [damage_length, damage_meta, damage_table, damage_absence])
def test_damage_is_one_clear_error(tokenizer: Tokenizer, tmp_path: Path, damage: Any) -> None:
    tokenise(Texts(items=["one two three"]), tokenizer, tmp_path)
    (folder,) = tmp_path.iterdir()
    damage(folder)
    with pytest.raises(InputError, match="remove the folder, and it will be made anew"):
        tokenise(Texts(items=["one two three"]), tokenizer, tmp_path)


@pytest.mark.parametrize("repeats", ["kept", "exact", "similar"])
def test_a_source_without_text_makes_an_empty_corpus(tokenizer: Tokenizer, tmp_path: Path, repeats: Any) -> None:
    corpus = tokenise(Texts(items=[" "], repeats=repeats), tokenizer, tmp_path)
    assert (len(corpus), corpus.n_tokens, corpus.meta["report"]["empty"]) == (0, 0, 1)


@given(st.integers(2, 200), st.floats(0.001, 0.999), st.integers(0, 9))
def test_splitting_holds_out_documents(size: int, share: float, seed: int) -> None:
    corpus = Corpus.of([[number] for number in range(size)])
    first, other = split(corpus, share, seed)
    left, right = ([int(one.parts(number)[0][0]) for number in range(len(one))] for one in (first, other))
    assert sorted(left + right) == list(range(size))
    assert left
    assert right
    assert abs(len(right) - share * size) <= 1
    assert np.array_equal(split(corpus, share, seed)[1].starts, other.starts)


def test_a_split_that_cannot_be() -> None:
    with pytest.raises(InputError) as caught:
        split(Corpus.of([[1]]), 1.0, 0)
    assert {fault.field for fault in caught.value.faults} == {"share", "documents"}


def test_what_is_kept_describes_itself(tokenizer: Tokenizer, tmp_path: Path) -> None:
    corpus = tokenise(TOPICS, tokenizer, tmp_path)
    (folder,) = tmp_path.iterdir()
    meta = json.loads((folder / "corpus.json").read_text())
    assert meta == corpus.meta
    assert len(meta["tokenizer"]) == 64
    assert meta["source"]["files"][0][0] == "pydoc"
    assert meta["languages"] == [""]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, about its dependencies
def test_a_ray_cluster_makes_the_same_corpus(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else other tests keep the cluster's processes from the processor
    ray = pytest.importorskip("ray", reason="ray is not installed")
    pytest.importorskip("ray.data", reason="ray is installed without its part for data")
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text("\n\n".join(TEXTS[10 * number : 10 * number + 12]))
    source = Files(paths=(f"{tmp_path}/*.txt",), split="paragraph", repeats="exact")
    here = tokenise(source, tokenizer, tmp_path / "here")
    try:
        there = tokenise(source, tokenizer, tmp_path / "there", ray="local")
        (tmp_path / "4.jsonl").write_text("{")
        with pytest.raises(InputError, match=r"4\.jsonl:1"):
            tokenise(Files(paths=(f"{tmp_path}/4.jsonl",)), tokenizer, tmp_path / "there", ray="local")
    finally:
        ray.shutdown()
    assert held(there) == held(here)
    assert there.meta == here.meta


def test_a_cluster_needs_files_and_its_package(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="is no files; write the texts to files first"):
        tokenise(Texts(items=["one"]), tokenizer, tmp_path, ray="local")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'stemma-lm\[ray\]'"):
        tokenise(TOPICS, tokenizer, tmp_path, ray="local")
