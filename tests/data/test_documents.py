"""Every format, and everything that can be wrong with it."""

from __future__ import annotations

import codecs
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.data import Files, Report, Source, Texts, documents
from stemma.data.formats import cut
from stemma.errors import InputError

TEXT = "One line.\nAnother.\n\nA paragraph: čeština, 中文, 🙂.\n"


def read(source: Source) -> tuple[list[tuple[str, ...]], Report]:
    report = Report()
    return list(documents(source, report)), report


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def to_file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return to_file


Write = Callable[..., str]


@pytest.mark.parametrize(
    ("split", "wanted"),
    [
        ("file", [TEXT]),
        ("paragraph", ["One line.\nAnother.", "A paragraph: čeština, 中文, 🙂."]),
        ("line", ["One line.", "Another.", "A paragraph: čeština, 中文, 🙂."]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_text_is_split_as_asked(write: Write, split: Any, wanted: list[str], packed: bool) -> None:
    raw = TEXT.encode()
    path = write("a.txt.gz", gzip.compress(raw)) if packed else write("a.txt", raw)
    found, report = read(Files(paths=(path,), split=split))
    assert found == [(text,) for text in wanted]
    assert report.documents == len(wanted)
    assert report.bytes == sum(len(text.encode()) for text in wanted)
    assert report.empty == (split == "line")


def test_windows_line_ends_are_no_part_of_lines(write: Write) -> None:
    found, _ = read(Files(paths=(write("a.txt", "one\r\n\r\ntwo\r\n"),), split="paragraph"))
    assert found == [("one",), ("two",)]


def test_patterns_give_sorted_files(write: Write) -> None:
    folder = Path(write("b.txt", "b")).parent
    write("a.txt", "a")
    write("deep/er/c.txt", "c")
    found, _ = read(Files(paths=(f"{folder}/**/*.txt",)))
    assert found == [("a",), ("b",), ("c",)]


def test_records_of_each_format(write: Write) -> None:
    lines = "\n".join(json.dumps({"text": text, "other": 1}) for text in ("one\n", "zwei ü"))
    assert read(Files(paths=(write("a.jsonl", lines),)))[0] == [("one\n",), ("zwei ü",)]
    table = 'id\ttext\n1\t"so, he said\n2\tzwei\n'
    assert read(Files(paths=(write("a.tsv", table),)))[0] == [('"so, he said',), ("zwei",)]
    assert read(Files(paths=(write("b.tsv", "eng\thello\tdeu\thallo\n"),), fields=(1, 3)))[0] == [("hello", "hallo")]
    assert read(Files(paths=(write("a.csv", 'id,text\n1,"one, two\nthree"\n'),)))[0] == [("one, two\nthree",)]


def test_pairs_from_two_files_line_by_line(write: Write) -> None:
    source = Files(paths=(write("a.en", "one\ntwo\n\n"),), beside=(write("a.de", "eins\nzwei\ndrei\n"),))
    found, report = read(source)
    assert found == [("one", "eins"), ("two", "zwei")]
    assert report.empty == 1
    short = Files(paths=source.paths, beside=(write("b.de", "eins\n"),))
    with pytest.raises(InputError, match=r"b\.de' has no line 2"):
        read(short)


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"text": ["one", None, "zwei"], "n": [1, 2, 3]}), path)
    found, report = read(Files(paths=(str(path),)))
    assert (found, report.empty) == ([("one",), ("zwei",)], 1)
    with pytest.raises(InputError, match="fields='body' is no column; use one of text, n"):
        read(Files(paths=(str(path),), fields=("body",)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read"):
        read(Files(paths=(str(path),)))


def test_zstandard(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard", reason="zstandard is not installed")
    path, packed = tmp_path / "a.txt.zst", zstandard.ZstdCompressor(write_checksum=True).compress(TEXT.encode())
    path.write_bytes(packed + packed)
    assert read(Files(paths=(str(path),)))[0] == [(TEXT + TEXT,)]
    for damaged in (packed[:-5], packed[:10] + b"?" + packed[11:], b"text"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read"):
            read(Files(paths=(str(path),)))


@pytest.mark.parametrize("name", ["parquet", "zst"])
def test_an_absent_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for package in ("pyarrow", "pyarrow.parquet", "zstandard"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    path = tmp_path / f"a.{name}"
    path.write_bytes(b"any")
    with pytest.raises(InputError, match=r"pip install 'stemma-lm\[(parquet|zstd)\]'"):
        read(Files(paths=(str(path),)))


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-9], lambda raw: raw[:12] + b"\xff" + raw[13:], lambda raw: b"text"]
)
def test_damaged_gzip_is_one_clear_error(write: Write, damage: Callable[[bytes], bytes]) -> None:
    path = write("a.txt.gz", damage(gzip.compress(TEXT.encode() * 50)))
    with pytest.raises(InputError, match=r"a\.txt\.gz.* cannot be read: .*; mend or remove the file"):
        read(Files(paths=(path,)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "one"}\n{"text": ', r"a\.jsonl:2: line='.*' is no JSON"),
        ('{"body": "one"}', r"a\.jsonl:1: fields='text' is missing; use one of those there: body"),
        ('{"text": 3}', r"a\.jsonl:1: text=3 is no text"),
        ("[1]", r"a\.jsonl:1: fields='text' is missing"),
        (codecs.BOM_UTF16_LE + "a".encode("utf-16-le"), "is UTF-16; convert it"),
    ],
)
def test_damaged_records_name_their_line(write: Write, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(Files(paths=(write("a.jsonl", content),)))


def test_bytes_and_surrogates_that_are_no_text_are_repaired_and_counted(write: Write) -> None:
    path = write("a.txt", codecs.BOM_UTF8 + b"caf\xe9\ngood\n\xf0\x9f\x99\x82")
    found, report = read(Files(paths=(path,), split="line"))
    assert found == [("caf�",), ("good",), ("🙂",)]
    assert (report.marks, report.repaired, report.documents) == (1, 1, 3)
    path = write("a.jsonl", r'{"text": "half \ud83d, whole \ud83d\ude42"}')
    found, report = read(Files(paths=(path,)))
    assert (found, report.repaired) == ([("half �, whole 🙂",)], 1)


@given(st.binary(max_size=300))
def test_any_bytes_become_text(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(raw)
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return
    report = Report()
    found = list(documents(Files(paths=(str(path),)), report))
    body = raw.removeprefix(codecs.BOM_UTF8)
    assert report.documents + report.empty == 1
    assert report.bytes == sum(len(text.encode()) for (text,) in found)
    if not report.repaired and found:
        assert found[0][0].encode() == body


@given(st.lists(st.text("ab \n", max_size=30), max_size=5), st.integers(1, 12))
def test_cutting_loses_nothing(blocks: list[str], longest: int) -> None:
    report = Report()
    parts = list(cut(blocks, longest, report))
    assert "".join(parts) == "".join(blocks)
    assert all(len(part) <= longest for part in parts)
    assert report.cut == (len(parts) > 1)


def test_huge_documents_are_cut_at_lines_and_counted(write: Write) -> None:
    path = write("a.txt", "word word\n" * 1000)
    found, report = read(Files(paths=(path,), longest=995))
    assert "".join(text for (text,) in found) == "word word\n" * 1000
    assert {len(text) for (text,) in found} == {990, 100}
    assert report.cut == 1
    pair = Texts(items=[("a" * 50, "b" * 9)], fields=("x", "y"), longest=20)
    found, report = read(pair)
    assert (found, report.cut) == ([("a" * 20, "b" * 9)], 1)
    found, report = read(Texts(items=["word " * 99], longest=50))
    assert "".join(text for (text,) in found).rstrip() == ("word " * 99).rstrip()
    assert report.cut == 1


def test_texts_in_memory_and_streams_of_records() -> None:
    assert read(Texts(items=["one", " \n", "two"]))[0] == [("one",), ("two",)]
    assert read(Texts(items=iter([{"text": "one", "id": 1}]), name="stream"))[0] == [("one",)]
    assert read(Texts(items=[("one", "eins")], languages=("en", "de")))[0] == [("one", "eins")]
    with pytest.raises(InputError, match=r"items\[1\]=3 is no text"):
        read(Texts(items=["one", 3]))  # type: ignore[list-item]


def test_python_help_is_always_there() -> None:
    found, report = read(Files(paths=("pydoc",)))
    assert report.documents == len(found) > 50
    assert report.bytes > 300_000
    paragraphs, _ = read(Files(paths=("pydoc",), split="paragraph"))
    assert len(paragraphs) > 20 * len(found)
    assert not any("\n\n" in text for (text,) in paragraphs)


def test_all_faults_of_a_source_at_once() -> None:
    with pytest.raises(InputError) as caught:
        read(Files(paths=("nowhere/*.txt",), split="word", longest=0, repeats="some", languages=("en", "de")))  # type: ignore[arg-type]
    assert {fault.field for fault in caught.value.faults} == {"paths", "split", "longest", "repeats", "languages"}
    with pytest.raises(InputError, match="name='' is needed for a stream"):
        read(Texts(items=iter(["one"])))
    with pytest.raises(InputError, match="match 0 files beside 1"):
        read(Files(paths=("pydoc",), beside=("nowhere",)))
